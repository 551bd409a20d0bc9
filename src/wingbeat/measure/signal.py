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
    # Cloned: a view would keep the weights of all replicas.
    reference = {name: tensor[0].clone() for name, tensor in snapshot.params.items()}
    flat = step.layout.flatten(reference).to(step.device)
    del reference
    eps = torch.finfo(flat.dtype).eps
    noise = torch.Generator().manual_seed(derive(snapshot.step, "rounding"))
    drawn = torch.randn(flat.shape, generator=noise, dtype=torch.float64).to(flat.device)
    moved = drawn.mul_(eps).add_(1).mul_(flat).to(flat)
    del drawn
    first, second = (_gradient(step, params, snapshot, batches) for params in (flat, moved))
    if not (bool(torch.isfinite(first).all()) and bool(torch.isfinite(second).all())):
        return dict.fromkeys(step.layout.names, "signal")
    small = eps**0.5 * float(first.abs().max())
    pieces = zip(
        step.layout.unflatten(first).items(), step.layout.unflatten(second).values(), strict=True
    )
    return {name: _kind(a, b, small) for (name, a), b in pieces}


def _kind(a: Tensor, b: Tensor, small: float) -> Kind:
    size = max(float(a.norm()), float(b.norm()))
    if size == 0:
        return "zero"
    differs = float((a - b).norm()) > _REPEATS * size
    return "rounding" if differs and float(a.abs().max()) <= small else "signal"


def _gradient(step: TrainingStep, params: Tensor, snapshot: Snapshot, batches: Batches) -> Tensor:
    streams = Streams.of(step.task.seed)
    index = min(snapshot.step, step.task.steps - 1)
    buffers = {k: b[0].to(step.device) for k, b in snapshot.buffers.items()}
    seed_all(derive(streams.dropout, index))
    with torch.no_grad():
        number = step.number(index) if step.task.counts else None
        return step.gradient(params, buffers, batches.batch(streams, index), number)[0]
