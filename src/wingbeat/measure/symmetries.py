"""The permutation symmetries of a task's model, and its replicas permuted onto the reference."""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from wingbeat.determinism import evaluation
from wingbeat.errors import DIVERGED, NO_PERMUTATIONS, NOT_SYMMETRIC, RequestError
from wingbeat.landscape import Models
from wingbeat.landscape.data import select_samples
from wingbeat.measure.table import object_array, owners
from wingbeat.replicas.fork import REFERENCE
from wingbeat.symmetry import Permutation, PermutationSpec, permutation_spec, weight_matching
from wingbeat.symmetry.on_state import broken_groups
from wingbeat.task.batches import copied, eval_batches, placer
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from wingbeat.measure.context import MetricContext
    from wingbeat.replicas.snapshot import Snapshot
    from wingbeat.symmetry.export import Inputs
    from wingbeat.task.data import Batch
    from wingbeat.task.step import TrainingStep


SAMPLES: Final = 2
"""Samples of the batch that the model is exported with."""
TOLERANCE: Final = {torch.float64: 1e-8}
"""Change of the loss under a permutation, relative, in float64; 1e-3 in narrower types."""


@dataclass(frozen=True)
class Alignment:
    """All replicas of a moment, each permuted to lie as close to the reference as was found.

    Attributes:
        models: the reference, the null twin and the others; one that broke down is left as it is,
            and the weights of one that cannot be permuted are NaN.
        shares: share of units that stayed in place, (E,); NaN for one that broke down, or where
            the model has no symmetries.
        broken: replicas that permuting would change what they compute, (E,).
    """

    models: Models
    shares: Array
    broken: NDArray[np.bool_]


def alignment(context: MetricContext, snapshot: Snapshot) -> Alignment | None:
    """Return the replicas aligned to the reference; None where no symmetries can be found.

    By weight matching, one descent from the identity: a replica is never farther from the
    reference than it was. The symmetries are found once for a run, the alignment once a step.
    """
    spec = specification(context)
    if spec is None:
        return None
    known: dict[int, Alignment] = context.shared.setdefault("alignments", {})
    if snapshot.step not in known:
        known.clear()  # steps come in order: one moment's weights are kept, not all
        models = Models.of_snapshot(context.model_step, snapshot)
        known[snapshot.step] = aligned(context.model_step, models, spec)
    return known[snapshot.step]


def specification(context: MetricContext) -> PermutationSpec | None:
    """Return the symmetries of a run's model, found on the first call; None without any."""
    if "spec" not in context.shared:
        context.tick("permutation symmetries")
        try:
            context.shared["spec"] = task_spec(context.model_step)
        except RequestError as error:
            context.tick(f"no permutation symmetries: {error}")
            context.shared["spec"] = None
    found: PermutationSpec | None = context.shared["spec"]
    return found


def task_spec(step: TrainingStep, like: nn.Module | None = None) -> PermutationSpec:
    """Return the permutation symmetries of a task's model.

    The model is exported with what the task's loss hands it for two samples; that a random
    permutation leaves the loss unchanged is checked besides, since a loss may look at more than
    the model's outputs.

    Args:
        step: of the task.
        like: a model of the task's architecture with the weights in question; by default a new one.

    Raises:
        RequestError: the loss does not call the model itself, it cannot be exported, or the loss
            changes under its symmetries.
    """
    model = (
        copy.deepcopy(step.skeleton if like is None else like)
        .eval()
        .requires_grad_(requires_grad=False)
    )
    model.to(step.device, step.dtype)
    place = placer(step.dtype, step.device)
    batch = next(iter(eval_batches(select_samples(step.task.data, SAMPLES), SAMPLES, place)))[0]
    with evaluation():
        inputs = _given(step, model, batch)
    spec = permutation_spec(model, inputs, seed=step.task.seed)
    with evaluation():
        before, after = (
            _loss(step, model, state, batch)
            for state in (model.state_dict(), spec.random(0).apply(model.state_dict()))
        )
    if not abs(after - before) <= TOLERANCE.get(step.dtype, 1e-3) * max(1.0, abs(before)):
        raise RequestError(
            f"the loss is {before} and, with units permuted, {after}: it looks at more of the "
            "model than its outputs"
        )
    return spec


def _given(step: TrainingStep, model: nn.Module, batch: Batch) -> Inputs:
    """Return what the loss hands the model when it calls it first."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    hook = model.register_forward_pre_hook(
        lambda _, args, kwargs: calls.append((args, dict(kwargs))), with_kwargs=True
    )
    try:
        step.task.loss(model, copied(batch))
    finally:
        hook.remove()
    if not calls:
        raise RequestError("the loss does not call the model itself, but parts of it")
    args, kwargs = calls[0]
    if not kwargs:
        return args
    return dict(inspect.signature(model.forward).bind(*args, **kwargs).arguments)


def _loss(step: TrainingStep, model: nn.Module, state: dict[str, Tensor], batch: Batch) -> float:
    model = copy.deepcopy(model)
    model.load_state_dict(state)
    return float(step.task.loss(model, copied(batch)))


def aligned(step: TrainingStep, models: Models, spec: PermutationSpec) -> Alignment:
    """Return models permuted onto the first one.

    Args:
        step: names and shapes of the weights, and the seed of the order of visits.
        models: the reference first.
        spec: the symmetries of their architecture.
    """
    finite, originals = models.finite, models.originals()
    params, shares = models.params.clone(), np.full(len(models), np.nan)
    buffers = {name: stack.clone() for name, stack in models.buffers.items()}
    broken = np.zeros(len(models), dtype=bool)
    first = _state(step, models, 0, spec)
    for i in range(len(models)):
        if not (finite[0] and finite[i]):
            continue
        found = spec.identity()
        if originals[i] != 0:
            other = _state(step, models, i, spec)
            found = weight_matching(first, other, spec, seed=step.task.seed, restarts=1)
            broken[i] = bool(broken_groups(spec, other, found))
            if broken[i]:
                params[i] = torch.nan
                continue
            _put(step, found, other, params[i], buffers, i)
        shares[i] = found.fixed_point_share
    return Alignment(Models(models.labels, params, buffers), shares, broken)


def _state(
    step: TrainingStep, models: Models, place: int, spec: PermutationSpec
) -> dict[str, Tensor]:
    own = {name: stack[place] for name, stack in models.buffers.items()}
    every = {**step.layout.unflatten(models.params[place]), **own}
    return {name: tensor.cpu() for name, tensor in every.items() if name in spec.shapes}


def _put(
    step: TrainingStep,
    found: Permutation,
    state: dict[str, Tensor],
    row: Tensor,
    buffers: dict[str, Tensor],
    place: int,
) -> None:
    """Write a permuted state over a row of weights and of each buffer."""
    moved = found.apply(state)
    row.copy_(step.layout.flatten({name: moved[name] for name in step.layout.names}))
    for name, stack in buffers.items():
        if name in moved:
            stack[place] = moved[name]


def aligned_rows(
    context: MetricContext, snapshot: Snapshot, metric: str, values: Array, reasons: Any
) -> None:
    """Add one value for every replica but the reference, (E,), with why there is none."""
    context.out.add(
        metric,
        values[1:],
        step=snapshot.step,
        perturbation=owners(snapshot.labels)[1:],
        a=REFERENCE,
        b=object_array(snapshot.labels[1:]),
        reason=np.where(np.isfinite(values), "", reasons)[1:].astype(object),
    )


def why_none(found: Alignment | None, other: str) -> str:
    """Return why no replica has a value of what is measured after alignment."""
    if found is None:
        return NO_PERMUTATIONS
    return NOT_SYMMETRIC if found.broken.any() else other


def why_not_aligned(found: Alignment | None, other: str = DIVERGED) -> Any:
    """Return for each replica why it has no value.

    Args:
        found: what alignment gave.
        other: the reason of a replica that was aligned.
    """
    if found is None:
        return NO_PERMUTATIONS
    whole = found.models.finite & found.models.finite[0]
    why = np.where(whole, other, DIVERGED)
    return np.where(found.broken, NOT_SYMMETRIC, why).astype(object)
