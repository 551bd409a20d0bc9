"""Aligning two models by what their units do on the same data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from wingbeat.symmetry.descent import restarted
from wingbeat.symmetry.export import Inputs
from wingbeat.symmetry.moments import streamed
from wingbeat.symmetry.spec import Permutation, PermutationSpec
from wingbeat.symmetry.terms import Term, weight_terms
from wingbeat.symmetry.weight_matching import check_pair, rounding


def activation_matching(
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    spec: PermutationSpec,
    batches: Iterable[Inputs],
    *,
    seed: int = 0,
    restarts: int = 3,
    max_sweeps: int = 100,
) -> Permutation:
    """Return the permutation that pairs the units of b with those of a that act most alike.

    Likeness is the correlation over all samples and places, streamed over the batches with sums
    in float64, at every activation that the next layer sums over. A unit that never varies
    correlates with none. Groups that no such activation shows are matched by weights, the others
    being held.

    Args:
        a: state dict of the model that stays.
        b: state dict of the model that is to be permuted; neither is changed.
        spec: made in this process: it holds the exported graph on which the data are run.
        batches: inputs as for `permutation_spec`, of the shapes of its example inputs or with fewer
            samples, as the last batch of an epoch has.
        seed: as in `weight_matching`.
        restarts: as in `weight_matching`; needed only where groups meet in one activation.
        max_sweeps: as in `weight_matching`.

    Returns:
        The permutation; ``.apply(b)`` acts like ``a``, unit by unit.

    Raises:
        RequestError: a state dict does not fit or is not finite, there are no data, a batch has
            other shapes than the example inputs, or the specification has no graph.

    Source: Ainsworth et al., "Git Re-Basin" (2022), section 3.1; correlations as in Li et al.,
    "Convergent Learning" (2015).

    >>> import torch, wingbeat.symmetry as sym
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    >>> x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    >>> spec = sym.permutation_spec(net, x)
    >>> moved = spec.random(1).apply(net.state_dict())
    >>> found = activation_matching(net.state_dict(), moved, spec, [x])
    >>> bool(torch.equal(found.apply(moved)["0.weight"], net.state_dict()["0.weight"]))
    True
    """
    check_pair(a, b, spec)
    terms: list[Term] = [moments.term() for moments in streamed(a, b, spec, batches)]
    shown = {leaf for term in terms for leaf in term.block.leaves}
    seen = replace(spec, groups=tuple(g for g in spec.groups if g.leaf in shown))
    found = restarted(
        seen,
        terms,
        seen.identity(),
        seed=seed,
        restarts=restarts,
        max_sweeps=max_sweeps,
        tolerance=1e-12,
    )
    unseen = [group.name for group in spec.groups if group.leaf not in shown]
    if not unseen:
        return Permutation(spec, found.arrays)
    return _rest_by_weights(a, b, spec, found.arrays, unseen, seed, max_sweeps)


def _rest_by_weights(
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    spec: PermutationSpec,
    arrays: Mapping[str, Tensor],
    unseen: Sequence[str],
    seed: int,
    max_sweeps: int,
) -> Permutation:
    """Match the groups that no activation shows, on weights permuted by all the others."""
    shown = spec.permutation(arrays)
    rest = replace(spec, groups=tuple(g for g in spec.groups if g.name in unseen))
    found = restarted(
        rest,
        weight_terms(rest, a, shown.apply(b)),
        rest.identity(),
        seed=seed,
        restarts=1,
        max_sweeps=max_sweeps,
        tolerance=rounding(a, None),
    )
    return spec.permutation(found.arrays).compose(shown)
