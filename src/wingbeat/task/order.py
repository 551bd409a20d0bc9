"""Which samples batch ``b`` holds: a function of (order seed, b), by rule or by a sampler."""

from __future__ import annotations

import copy
import weakref
from bisect import bisect_right
from collections import OrderedDict
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from wingbeat.determinism import derive, seeded
from wingbeat.errors import RequestError
from wingbeat.task.data import Collated, len_of, steps_per_epoch
from wingbeat.task.passes import ordered_by

_KEPT = 8
"""Passes of a sampler that are remembered: replicas in two orders, each at the end of a pass."""


_ORDERS: dict[int, Order] = {}


class Order:
    """The batches of a task's data as indices of samples.

    Args:
        task: whose ``data`` are cut, by ``sampling`` or by ``sampler``.

    A sampler may keep state of its own, as one that shuffles its list in place does. Each order
    therefore has a copy, which is gone through pass by pass as in a plain loop.

    Attributes:
        per_pass: batches in the first pass over the data.
        gives_batches: whether the sampler gives lists of indices.
    """

    def __init__(self, task: Any) -> None:
        self.task, self.size = task, len_of(task.data)
        self.gives_batches = False
        self._lists: OrderedDict[tuple[int, int], list[Tensor]] = OrderedDict()
        self._starts: dict[int, list[int]] = {}
        self._under_way: dict[int, tuple[Any, int]] = {}
        self._steady = task.sampler is not None and _is_torch(task.sampler)
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
        if self._steady:
            epoch, place = divmod(number, self.per_pass)
            return epoch, self._list(order, epoch)[place]
        starts = self._starts.setdefault(order, [0])
        while starts[-1] <= number:
            starts.append(starts[-1] + len(self._list(order, len(starts) - 1)))
        epoch = bisect_right(starts, number) - 1
        return epoch, self._list(order, epoch)[number - starts[epoch]]

    def first_pass(self, order: int) -> list[Tensor]:
        """Return the batches of a sampler's first pass under an order seed, drawn anew."""
        return self._cut(self._pass(self._copy(), order, 0), 0)

    def first(self) -> list[Tensor]:
        """Return the batches of the first pass of the task's own order."""
        return self.first_pass(derive(self.task.seed, "order"))

    def _list(self, order: int, epoch: int) -> list[Tensor]:
        key = (order, epoch)
        if key not in self._lists:
            self._lists[key] = self._drawn(order, epoch)
            if len(self._lists) > _KEPT:
                self._lists.popitem(last=False)
        self._lists.move_to_end(key)
        return self._lists[key]

    def _drawn(self, order: int, epoch: int) -> list[Tensor]:
        sampler, at = self._under_way.get(order, (None, 0))
        if sampler is None or at > epoch:
            sampler, at = self._copy(), 0
        for number in range(epoch if self._steady else at, epoch + 1):
            drawn = self._pass(sampler, order, number)
        self._under_way[order] = sampler, epoch + 1
        return self._cut(drawn, epoch)

    def _copy(self) -> Any:
        """Return the sampler as it was before its first pass; the data are not copied."""
        data = self.task.data.samples if isinstance(self.task.data, Collated) else self.task.data
        memo = {id(thing): thing for thing in (data, self.task.data)}
        try:
            return copy.deepcopy(self.task.sampler, memo)
        except (TypeError, RuntimeError, AttributeError):  # a file or a lock: whoever draws twice
            return self.task.sampler  # and differs is refused with the description

    @staticmethod
    def _pass(sampler: Any, order: int, epoch: int) -> list[Any]:
        with seeded(0), ordered_by(sampler, order, epoch, own=True):
            return list(sampler(epoch) if callable(sampler) else sampler)

    def _cut(self, drawn: list[Any], epoch: int) -> list[Tensor]:
        """Return batches of indices, from those of samples or from batches as they are.

        Raises:
            RequestError: there is none, or an index outside the data.
        """
        if drawn and hasattr(drawn[0], "__len__") and not _is_index(drawn[0]):
            self.gives_batches = True
            found = [_indices(part) for part in drawn]
        else:
            size, row = self.task.batch_size, _indices(drawn)
            found = list(torch.split(row, size)) if len(row) else []
            found = found[: len(row) // size] if self.task.drop_last else found
        if not found:
            raise RequestError(f"Task.sampler gives no batch in pass {epoch} over the data")
        every = torch.cat(found)
        outside = every[(every < 0) | (every >= self.size)]
        if len(outside):
            msg = (
                f"Task.sampler gives the index {int(outside[0])}, and the data have {self.size} "
                f"samples: give indices from 0 to {self.size - 1}"
            )
            raise RequestError(msg)
        return found


def _is_torch(sampler: Any) -> bool:
    """Tell samplers of torch itself: without state, and of one length."""
    own = type(sampler).__module__.startswith("torch.utils.data")
    inner = getattr(sampler, "batch_sampler", None) or getattr(sampler, "sampler", None)
    return own and (inner is None or _is_torch(inner))


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


def order_of(task: Any) -> Order:
    """Return a task's order, which is found once: a sampler may be dear."""
    # Beside the task, not in it: a task's fields are what it was made of.
    if id(task) not in _ORDERS:
        _ORDERS[id(task)] = Order(weakref.proxy(task))
        weakref.finalize(task, _ORDERS.pop, id(task), None)
    return _ORDERS[id(task)]


@lru_cache(maxsize=64)
def _epoch_order(order: int, epoch: int, size: int, sampling: str) -> Tensor:
    if sampling == "sequential":
        return torch.arange(size)
    generator = torch.Generator().manual_seed(derive(order, epoch))
    if sampling == "replacement":
        return torch.randint(size, (size,), generator=generator)
    return torch.randperm(size, generator=generator)
