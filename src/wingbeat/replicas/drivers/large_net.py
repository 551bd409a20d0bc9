"""Nets so large that lock step has nothing to save: their steps are not limited by calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wingbeat.replicas.drivers.marks import equal, mark

if TYPE_CHECKING:
    from wingbeat.replicas.replicas import Replicas
    from wingbeat.task.step import TrainingStep

_LARGEST: Final = 1 << 22
"""Trained numbers of one replica above which a processor's time goes into them, not into calls.

Below, "auto" measures. By ``python -m benchmarks.large_net`` (AdamW, batches of 32, one thread of
an Intel Xeon with AVX-512 that others used too) the loop's step takes, of that of lock step with 4
and 8 copies, 0.96 and 0.95 of 1 million, 0.66 and 0.41 of 2 million, 0.38 and 0.94 of 4 million,
0.79 and 0.78 of 8 million: lock step saves nothing at any of these sizes."""
REASON: Final = "a net so large is not limited by calls, and a stack holds gradients of all copies"


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
