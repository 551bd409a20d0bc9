"""Which samples batch ``b`` holds: a function of (order seed, b), by rule or by a sampler."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch

from wingbeat.determinism import derive, seeded
from wingbeat.errors import RequestError
from wingbeat.task.data import len_of, steps_per_epoch
from wingbeat.task.passes import ordered_by

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.task.task import Task

_KEPT = 8
"""Passes of a sampler that are remembered: replicas in two orders, each at the end of a pass."""


class Order:
    """The batches of a task's data as indices of samples.

    Args:
        task: whose ``data`` are cut, by ``sampling`` or by ``sampler``.

    Attributes:
        per_pass: batches in the first pass over the data.
    """

    def __init__(self, task: Task) -> None:
        self.task, self.size = task, len_of(task.data)
        self._lists: OrderedDict[tuple[int, int], list[Tensor]] = OrderedDict()
        self._starts: dict[int, list[int]] = {}
        self.per_pass = steps_per_epoch(self.size, max(1, task.batch_size), task.drop_last)
        if task.sampler is not None:
            self.per_pass = len(self._list(derive(task.seed, "order"), 0))

    def find(self, order: int, number: int) -> tuple[int, Tensor]:
        """Return the pass that a batch is in, and the indices (batch,) of its samples."""
        if self.task.sampler is None:
            epoch, place = divmod(number, self.per_pass)
            start = place * self.task.batch_size
            row = _epoch_order(order, epoch, self.size, self.task.sampling)
            return epoch, row[start : start + self.task.batch_size]
        starts = self._starts.setdefault(order, [0])
        while starts[-1] <= number:
            starts.append(starts[-1] + len(self._list(order, len(starts) - 1)))
        epoch = bisect_right(starts, number) - 1
        return epoch, self._list(order, epoch)[number - starts[epoch]]

    def first_pass(self, order: int) -> list[Tensor]:
        """Return the batches of a sampler's first pass, drawn anew."""
        return self._drawn(order, 0)

    def _list(self, order: int, epoch: int) -> list[Tensor]:
        key = (order, epoch)
        if key not in self._lists:
            self._lists[key] = self._drawn(order, epoch)
            if len(self._lists) > _KEPT:
                self._lists.popitem(last=False)
        self._lists.move_to_end(key)
        return self._lists[key]

    def _drawn(self, order: int, epoch: int) -> list[Tensor]:
        sampler = self.task.sampler
        with seeded(0), ordered_by(sampler, order, epoch, own=True):
            drawn = list(sampler(epoch) if callable(sampler) else sampler)
        found = self._cut(drawn)
        if not found:
            msg = f"Task.sampler gives no batch in pass {epoch} over the data"
            raise RequestError(msg)
        for part in found:
            outside = part[(part < 0) | (part >= self.size)]
            if len(outside):
                msg = (
                    f"Task.sampler gives the index {int(outside[0])}, and the data have "
                    f"{self.size} samples: give indices from 0 to {self.size - 1}"
                )
                raise RequestError(msg)
        return found

    def _cut(self, drawn: list[Any]) -> list[Tensor]:
        """Return batches of indices, from those of samples or from batches as they are."""
        if drawn and hasattr(drawn[0], "__len__") and not _is_index(drawn[0]):
            return [_indices(part) for part in drawn]
        size, row = self.task.batch_size, _indices(drawn)
        parts = list(row.split(size)) if len(row) else []
        return parts[: len(row) // size] if self.task.drop_last else parts


def _is_index(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dim() == 0


def _indices(values: Any) -> Tensor:
    try:
        return torch.tensor([int(v) for v in values], dtype=torch.int64)
    except (TypeError, ValueError) as error:
        msg = (
            f"Task.sampler gives {values!r:.80}: it must give indices of samples, or lists of them "
            "as batches"
        )
        raise RequestError(msg) from error


def order_of(task: Task) -> Order:
    """Return a task's order, which is found once: a sampler may be dear."""
    known = vars(task).get("_order")
    if known is None:
        known = Order(task)
        object.__setattr__(task, "_order", known)
    found: Order = known
    return found


@lru_cache(maxsize=64)
def _epoch_order(order: int, epoch: int, size: int, sampling: str) -> Tensor:
    if sampling == "sequential":
        return torch.arange(size)
    generator = torch.Generator().manual_seed(derive(order, epoch))
    if sampling == "replacement":
        return torch.randint(size, (size,), generator=generator)
    return torch.randperm(size, generator=generator)
