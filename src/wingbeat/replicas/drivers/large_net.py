"""Nets so large that lock step has nothing to save: their steps are not limited by calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wingbeat.replicas.drivers.marks import equal, mark

if TYPE_CHECKING:
    from wingbeat.replicas.replicas import Replicas
    from wingbeat.task.step import TrainingStep

_LARGEST: Final = 1 << 22
"""Trained numbers of one replica above which a processor's time goes into them, not into calls: of
8.4 million in eight dense layers (AdamW, batches of 32, four copies, one thread of an Intel Xeon
with AVX-512) a step takes 263 to 267 ms in the loop and 350 to 365 ms in lock step."""
REASON: Final = "a net so large is not limited by calls, and a stack takes twice the memory"


def is_large_net(step: TrainingStep) -> bool:
    """Tell whether "auto" trains a net in the loop without a trial of lock step."""
    return step.device.type == "cpu" and step.layout.size > _LARGEST


def repeats(replicas: Replicas) -> bool:
    """Tell whether the first update is the same once more, of the first part of replicas."""
    part = replicas.parts[0]
    state, losses = replicas.step(part, 0)
    kept = mark([state.params, *state.buffers.values(), losses])
    del state
    state, losses = replicas.step(part, 0)
    return equal(kept, mark([state.params, *state.buffers.values(), losses]))
