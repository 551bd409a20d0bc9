"""Aligning one model with another: the permutation of b that brings it closest to a."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from wingbeat.errors import RequestError, nearest
from wingbeat.symmetry.activation_matching import activation_matching
from wingbeat.symmetry.export import Inputs
from wingbeat.symmetry.on_state import require_symmetric
from wingbeat.symmetry.real import refuse_complex
from wingbeat.symmetry.sinkhorn import sinkhorn_refine
from wingbeat.symmetry.spec import Permutation, PermutationSpec
from wingbeat.symmetry.weight_matching import check_pair, weight_matching

State = Mapping[str, Tensor] | nn.Module
Method = Literal["weights", "activations"]


def align(
    a: State,
    b: State,
    spec: PermutationSpec,
    method: Method = "weights",
    *,
    batches: Iterable[Inputs] | None = None,
    seed: int = 0,
    restarts: int = 3,
    max_sweeps: int = 100,
    sinkhorn: bool = False,
    dtype: torch.dtype | None = None,
) -> Permutation:
    """Return the permutation that brings b close to a without changing what b computes.

    Args:
        a: the model that stays, or its state dict.
        b: the model that is to be permuted, or its state dict; neither is changed.
        spec: from `permutation_spec` of the model that both belong to.
        method: "weights" (largest inner product of the weights) or "activations" (largest
            correlation of the units on data).
        batches: for "activations": inputs of the shapes of the specification's example inputs, or
            with fewer samples.
        seed: of the order of visits and of the random starts.
        restarts: descents in all, of which the best is returned.
        max_sweeps: passes over the groups at most, in each descent.
        sinkhorn: whether to refine the result by gradient descent over soft permutations.
        dtype: in which inner products of weights are taken.

    Returns:
        A permutation p: ``p.apply(b)`` is aligned with ``a``; ``p.fixed_point_share`` is the
        share of units that stay, 1 where b was already aligned.

    Raises:
        RequestError: the models differ from each other or from the specification (names are
            listed), weights are not finite, the method or its data are missing, or the second
            model computes something else when permuted, which is tried on the example inputs of
            the specification; the groups that are no symmetry of it are named.

    Source: Ainsworth et al., "Git Re-Basin" (2022).

    >>> import wingbeat.symmetry as sym
    >>> net = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> spec = sym.permutation_spec(net, torch.zeros(1, 2))
    >>> align(net, net, spec).fixed_point_share
    1.0
    """
    first, second = (on_processor(state_of(one, spec)) for one in (a, b))
    if method not in {"weights", "activations"}:
        raise RequestError(f"no method {method!r}: {nearest(method, ['weights', 'activations'])}")
    if method == "activations" and batches is None:
        raise RequestError('method="activations" needs batches of inputs')
    check_pair(first, second, spec)
    if batches is not None and method == "activations":
        found = activation_matching(
            first, second, spec, batches, seed=seed, restarts=restarts, max_sweeps=max_sweeps
        )
    else:
        found = weight_matching(
            first,
            second,
            spec,
            seed=seed,
            restarts=restarts,
            max_sweeps=max_sweeps,
            dtype=dtype,
        )
    if sinkhorn:
        found = sinkhorn_refine(first, second, spec, start=found, seed=seed)
    require_symmetric(spec, second, found)
    return found


def state_of(model: State, spec: PermutationSpec) -> Mapping[str, Tensor]:
    """Return the state dict of a model, or the mapping itself, under a specification's names.

    What torch.compile and data parallelism put into names does not count: either side may be
    wrapped.

    Raises:
        RequestError: a tensor is complex.
    """
    state = model.state_dict() if isinstance(model, nn.Module) else model
    refuse_complex(state)
    if all(name in spec.shapes for name in state):
        return state
    known = {_bare(name): name for name in spec.shapes}
    new = {name: known.get(_bare(name), name) for name in state}
    if len(known) < len(spec.shapes) or len(set(new.values())) < len(new):
        return state  # two names differ by a wrapper only: what does not fit is listed later
    return {new[name]: tensor for name, tensor in state.items()}


def on_processor(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return a state dict whose tensors lie on the processor, where permutations are searched."""
    if not isinstance(state, dict):
        return state
    return {name: tensor.cpu() for name, tensor in state.items()}


def _bare(name: str) -> str:
    """Return a name without the parts that wrappers put before or into it.

    >>> _bare("module._orig_mod.fc.weight"), _bare("fc._orig_mod.weight")
    ('fc.weight', 'fc.weight')
    """
    inner = name.replace("_orig_mod.", "")
    return inner.removeprefix("module.")


def aligned_distance(
    a: State, b: State, spec: PermutationSpec, permutation: Permutation | None = None
) -> float:
    """Return the Euclidean distance |a − P b| over all parameters, in float64.

    Tied parameters count once; buffers do not count.

    Args:
        a: the model that stays, or its state dict.
        b: the model that is permuted, or its state dict.
        spec: of the model that both belong to.
        permutation: found by `align` with weights if it is not given.

    Returns:
        ≥ 0 in units of the weights, 0 = the same up to permutation.

    >>> import wingbeat.symmetry as sym
    >>> net = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> spec = sym.permutation_spec(net, torch.zeros(1, 2))
    >>> aligned_distance(net, spec.random(1).apply(net.state_dict()), spec)
    0.0
    """
    first = on_processor(state_of(a, spec))
    moved = (permutation or align(a, b, spec)).apply(on_processor(state_of(b, spec)))
    total, seen = 0.0, set[str]()
    for name in spec.parameters:
        if name in seen or name not in first:
            continue
        seen.update(spec.tied.get(name, ()))
        total += float((first[name].double() - moved[name].double()).pow(2).sum())
    return float(total**0.5)
