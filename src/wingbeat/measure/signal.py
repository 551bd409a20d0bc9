"""Name the parameters that move by rounding alone.

The loss does not depend on a bias in front of a batch norm, nor on the bias of an attention's
keys: their gradients are zero but for rounding, an adaptive optimizer turns rounding into whole
steps, and replicas part along them though nothing was learnt. Such a tensor is recognised by a
gradient far below the others' that is another one as soon as the weights change by their own
rounding; a gradient that has merely vanished stays what it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import torch

from wingbeat.determinism import derive, seed_all
from wingbeat.task.batches import Batches, Streams

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.replicas.snapshot import Snapshot
    from wingbeat.task.step import TrainingStep
    from wingbeat.trajectory.trajectory import Trajectory

    Kind = Literal["signal", "zero", "rounding"]

# A gradient of rounding repeats by less than this when the weights move by their rounding: the
# two draws are then independent, and their difference is about 1.4 times as long as each.
_REPEATS: Final = 0.3
_BLOCK: Final = 1 << 20
"""Numbers that are drawn at once, a multiple of 16: eight megabytes, and no faster with more."""


def without_signal(step: TrainingStep, trajectory: Trajectory) -> tuple[str, ...]:
    """Return the names of the tensors whose gradient is rounding all along the reference.

    Looks at the last, the middle and the first recorded step; a tensor counts if its gradient is
    rounding at one of them and a signal at none.
    """
    batches = Batches(step.task, step.dtype, step.device)
    steps = trajectory.steps
    kinds: dict[str, set[Kind]] = {}
    for at in dict.fromkeys((steps[-1], steps[len(steps) // 2], steps[0])):
        for name, kind in _kinds(step, trajectory.at(at), batches).items():
            kinds.setdefault(name, set()).add(kind)
        left = {name for name, found in kinds.items() if "signal" not in found}
        if not left:
            return ()
    return tuple(name for name in step.layout.names if name in left and "rounding" in kinds[name])


def _kinds(step: TrainingStep, snapshot: Snapshot, batches: Batches) -> dict[str, Kind]:
    weights = _reference(step, snapshot)
    first = _gradient(step, weights, snapshot, batches)
    eps = torch.finfo(weights.dtype).eps
    _move(weights, eps, torch.Generator().manual_seed(derive(snapshot.step, "rounding")))
    second = _gradient(step, weights, snapshot, batches)
    del weights
    if not all(bool(torch.isfinite(g).all()) for g in (*first.values(), *second.values())):
        return dict.fromkeys(step.layout.names, "signal")
    small = eps**0.5 * max(float(g.abs().max()) for g in first.values() if g.numel())
    return {name: _kind(first[name], second[name], small) for name in step.layout.names}


def _reference(step: TrainingStep, snapshot: Snapshot) -> Tensor:
    """Return the weights of the reference ``(P,)``, a copy, with no tensor twice at a time."""
    first = snapshot.params[step.layout.names[0]]
    flat = torch.empty(step.layout.size, dtype=first.dtype, device=step.device)
    del first
    for name, place in step.layout.unflatten(flat).items():
        place.copy_(snapshot.params[name][0])
    return flat


def _move(weights: Tensor, eps: float, noise: torch.Generator) -> None:
    """Move weights by about their own rounding, in place, some at a time.

    The numbers are those of one draw: a generator that draws many draws them in sixteens.
    """
    size, start = weights.numel(), 0
    while start < size:
        # No rest of less than a block, which would be drawn in another way.
        end = size if size - start < 2 * _BLOCK else start + _BLOCK
        drawn = torch.randn(end - start, generator=noise, dtype=torch.float64).to(weights.device)
        part = weights[start:end]
        part.copy_(drawn.mul_(eps).add_(1).mul_(part))
        start = end


def _kind(a: Tensor, b: Tensor, small: float) -> Kind:
    size = max(float(a.norm()), float(b.norm()))
    if size == 0:
        return "zero"
    differs = float((a - b).norm()) > _REPEATS * size
    return "rounding" if differs and float(a.abs().max()) <= small else "signal"


def _gradient(
    step: TrainingStep, params: Tensor, snapshot: Snapshot, batches: Batches
) -> dict[str, Tensor]:
    streams = Streams.of(step.task.seed)
    index = min(snapshot.step, step.task.steps - 1)
    buffers = {k: b[0].to(step.device) for k, b in snapshot.buffers.items()}
    seed_all(derive(streams.dropout, index))
    with torch.no_grad():
        number = step.number(index) if step.task.counts else None
        return step.gradients(params, buffers, batches.batch(streams, index), number)[0]
