"""Batches that somebody else makes: a list of them, a function of the step, a loader's passes.

A loader is gone through pass by pass, each pass and each batch under seeds that are functions of
the place, so that every replica, and a resumed run, gets the same batches.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wingbeat.determinism import derive, seeded
from wingbeat.errors import RequestError, RunError
from wingbeat.task.passes import ordered_by, seed_fetch

if TYPE_CHECKING:
    from collections.abc import Callable

    from wingbeat.task.data import Batch
    from wingbeat.task.streams import Streams

_KEPT = 8
"""Batches that are remembered: the choice of a driver asks for the first few several times."""

Key = tuple[int, int]


@dataclass
class _Pass:
    """One pass under way: which, the number of its next batch, and where they come from."""

    number: int
    next: int
    source: Iterator[Any]


class Rounds:
    """The batches of a loader, by number.

    Args:
        loader: whatever can be iterated over again and again.

    Attributes:
        per_pass: batches of a pass, or None where the loader has no length.
    """

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self.per_pass: int | None = _length(loader)
        self._running: dict[Key, _Pass] = {}
        self._starts: dict[Key, list[int]] = {}
        self._kept: OrderedDict[tuple[Key, int], Batch] = OrderedDict()

    def batch(self, streams: Streams, number: int) -> Batch:
        """Return a batch; going back begins its pass again.

        Raises:
            RunError: the loader gives no batch, or another number of them in a pass.
        """
        key = (streams.order, streams.augmentation)
        if (key, number) not in self._kept:
            self._kept[key, number] = self._drawn(key, streams, number)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return self._kept[key, number]

    def anew(self) -> Rounds:
        """Return the same loader before its first pass."""
        return Rounds(self.loader)

    def _drawn(self, key: Key, streams: Streams, number: int) -> Batch:
        with seeded(0):
            running = self._at(key, streams, number)
            while True:
                seed_fetch(streams, running.next)
                try:
                    batch = next(running.source)
                except StopIteration:
                    running = self._after(key, streams, running)
                    continue
                running.next += 1
                if running.next > number:
                    return batch

    def _at(self, key: Key, streams: Streams, number: int) -> _Pass:
        """Return a pass that comes to a batch: the one under way, or one begun for it."""
        starts = self._starts.setdefault(key, [0])
        if self.per_pass:  # known, so that no pass has to be gone through to find the next
            while starts[-1] + self.per_pass <= number:
                starts.append(starts[-1] + self.per_pass)
        which = bisect_right(starts, number) - 1
        running = self._running.get(key)
        if running is None or running.next > number or running.number < which:
            running = self._begun(key, streams, which)
        return running

    def _begun(self, key: Key, streams: Streams, which: int) -> _Pass:
        start = self._starts[key][which]
        with ordered_by(self.loader, streams.order, which, own=True):
            source = iter(self.loader)
            seed_fetch(streams, start)
            first = list(_taken(source))  # samplers draw their order at their first index
        self._running[key] = _Pass(which, start, _chained(first, source))
        return self._running[key]

    def _after(self, key: Key, streams: Streams, ended: _Pass) -> _Pass:
        starts = self._starts[key]
        length = ended.next - starts[ended.number]
        if length == 0:
            again = " a second time: it can be read once" if ended.number else ""
            raise RunError(f"Task.batches gives no batch{again}: pass a DataLoader, or list(...)")
        known = starts[ended.number + 1] - starts[ended.number] if self._knows(key, ended) else None
        if known is not None and known != length:
            raise RunError(
                f"pass {ended.number} over Task.batches has {length} batches and had, or says that "
                f"it has, {known}: it must give every replica the same batches"
            )
        if known is None:
            starts.append(ended.next)
        return self._begun(key, streams, ended.number + 1)

    def _knows(self, key: Key, ended: _Pass) -> bool:
        if self.per_pass and len(self._starts[key]) == ended.number + 1:
            self._starts[key].append(self._starts[key][-1] + self.per_pass)
        return len(self._starts[key]) > ended.number + 1


def _taken(source: Iterator[Any]) -> Iterator[Any]:
    for batch in source:
        yield batch
        return


def _chained(first: list[Any], rest: Iterator[Any]) -> Iterator[Any]:
    yield from first
    yield from rest


def _length(loader: Any) -> int | None:
    try:
        return len(loader)
    except TypeError:  # a stream
        return None


class Listed:
    """Batches that lie in memory, round and round."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self.batches, self.per_pass = batches, len(batches)

    def batch(self, _: Streams, number: int) -> Batch:
        """Return a batch."""
        return self.batches[number % len(self.batches)]

    def anew(self) -> Listed:
        """Return itself: nothing is drawn."""
        return self


class Made:
    """Batches that a function of the step makes, under a seed of its own for each."""

    per_pass: int | None = None

    def __init__(self, function: Callable[[int], Batch]) -> None:
        self.function = function

    def batch(self, streams: Streams, number: int) -> Batch:
        """Return a batch."""
        with seeded(derive(streams.order, "batch", streams.augmentation, number)):
            return self.function(number)

    def anew(self) -> Made:
        """Return itself: nothing is kept."""
        return self


Given = Rounds | Listed | Made


def given(batches: Any) -> Given:
    """Return what gives a task's batches by number.

    Raises:
        RequestError: it can be read once, is empty, or is no source of batches.
    """
    if isinstance(batches, (list, tuple)):
        if not len(batches):
            raise RequestError("Task.batches is empty: pass at least one batch")
        return Listed(batches)
    if isinstance(batches, Iterator):
        kind = type(batches).__name__
        raise RequestError(
            f"Task.batches is a {kind}, which can be read once, and every replica needs the same "
            "batches: pass list(...) of it, the loader itself, or a function step -> batch"
        )
    if hasattr(batches, "__iter__"):
        return Rounds(batches)
    if callable(batches):
        return Made(batches)
    raise RequestError(
        f"Task.batches is a {type(batches).__name__}: pass a DataLoader, a list of batches, or a "
        "function step -> batch"
    )
