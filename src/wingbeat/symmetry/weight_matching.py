"""Aligning two models by their weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from wingbeat.errors import RequestError
from wingbeat.symmetry.descent import restarted
from wingbeat.symmetry.spec import Permutation, PermutationSpec
from wingbeat.symmetry.terms import weight_terms


def weight_matching(
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    spec: PermutationSpec,
    *,
    seed: int = 0,
    restarts: int = 3,
    max_sweeps: int = 100,
    start: Permutation | None = None,
    dtype: torch.dtype | None = None,
) -> Permutation:
    """Return the permutation that brings the weights of b closest to those of a.

    Groups are visited in random order; each is assigned exactly (Hungarian method) while the
    others are held, until no group can be improved. Attention heads are assigned by what their
    best inner assignments bring. The result is a local optimum: restarts begin elsewhere.

    Args:
        a: state dict of the model that stays.
        b: state dict of the model that is to be permuted; neither is changed.
        spec: of the model that both belong to.
        seed: of the orders and of the random starts.
        restarts: descents in all; the first begins at ``start``, the others at random.
        max_sweeps: passes over the groups at most, in each descent.
        start: the identity by default.
        dtype: in which inner products are taken: by default the type of the weights, at least
            float32. Sums over tensors are always in float64.

    Returns:
        The permutation; ``.apply(b)`` is close to ``a``.

    Raises:
        RequestError: a state dict does not fit the specification or is not finite.

    Source: Ainsworth et al., "Git Re-Basin" (2022), section 3.2.

    >>> import wingbeat.symmetry as sym
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    >>> spec = sym.permutation_spec(net, torch.zeros(1, 2))
    >>> hidden = spec.random(1)
    >>> found = weight_matching(net.state_dict(), hidden.apply(net.state_dict()), spec)
    >>> found == hidden.inverse()
    True
    """
    if restarts < 1:
        raise RequestError(f"restarts={restarts}: at least one descent is needed")
    check_pair(a, b, spec)
    terms = weight_terms(spec, a, b, dtype)
    found = restarted(
        spec,
        terms,
        start or spec.identity(),
        seed=seed,
        restarts=restarts,
        max_sweeps=max_sweeps,
        tolerance=rounding(a, dtype),
    )
    return Permutation(spec, found.arrays)


def rounding(state: Mapping[str, Tensor], dtype: torch.dtype | None) -> float:
    """Return the relative gain below which a change of the objective is rounding error."""
    kinds = {dtype} if dtype else {t.dtype for t in state.values() if t.is_floating_point()}
    return 1e-12 if kinds <= {torch.float64} else 1e-7


def check_pair(a: Mapping[str, Tensor], b: Mapping[str, Tensor], spec: PermutationSpec) -> None:
    """Check that two state dicts belong to a specification and are finite.

    Raises:
        RequestError: they do not, or are not; names are listed.
    """
    for label, state in (("first", a), ("second", b)):
        try:
            spec.check_state(state)
        except RequestError as error:
            raise RequestError(f"{label} model: {error}") from None
        broken = [
            name
            for name, tensor in state.items()
            if tensor.is_floating_point() and not _finite(tensor)
        ]
        if broken:
            raise RequestError(
                f"{label} model: not finite: {', '.join(broken)}; a model that has diverged "
                "cannot be aligned"
            )


def _finite(tensor: Tensor) -> bool:
    """Tell whether all numbers are finite; a finite sum says so in one pass without a copy."""
    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())
