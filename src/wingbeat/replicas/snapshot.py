"""One recorded moment of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

LARGE: Final = 1 << 25
"""Bytes of a snapshot above which it is neither copied before it is written nor read as a whole:
less is copied in a few milliseconds, and every process has that much to spare."""


class Stacks(Mapping[str, Tensor]):
    """Tensors ``(replicas, *shape)`` by name, each stacked anew from its rows when asked for.

    Args:
        rows: of each tensor, ``(1, *shape)`` for every replica; nobody may change them.
    """

    def __init__(self, rows: Mapping[str, Sequence[Tensor]]) -> None:
        self.rows = rows

    def __getitem__(self, name: str) -> Tensor:
        return torch.cat([row.cpu() for row in self.rows[name]])

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def rows_of(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor | Sequence[Tensor]]:
    """Return what a file is written of: rows where they are not stacked yet."""
    return tensors.rows if isinstance(tensors, Stacks) else tensors


@dataclass(frozen=True)
class Snapshot:
    """All replicas after ``step`` updates.

    Args:
        step: how many updates were made.
        labels: replica labels, "reference" first, "null" second.
        params: trainable parameters by name, each ``(replicas, *shape)``; large ones may be read
            or stacked when asked for, anew each time.
        buffers: other tensors of the model by name, each ``(replicas, *shape)``; likewise.
        losses: training loss ``(steps since the last snapshot, replicas)``; NaN for a replica
            that had not forked yet.
    """

    step: int
    labels: tuple[str, ...]
    params: dict[str, Tensor]
    buffers: dict[str, Tensor]
    losses: Tensor
