"""One recorded moment of a run."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Snapshot:
    """All replicas after ``step`` updates.

    Args:
        step: how many updates were made.
        labels: replica labels, "reference" first, "null" second.
        params: trainable parameters by name, each ``(replicas, *shape)``.
        buffers: other tensors of the model by name, each ``(replicas, *shape)``.
        losses: training loss ``(steps since the last snapshot, replicas)``; NaN for a replica
            that had not forked yet.
    """

    step: int
    labels: tuple[str, ...]
    params: dict[str, Tensor]
    buffers: dict[str, Tensor]
    losses: Tensor
