"""Run a study: grid minus done, mapped over a runner, collected into two tables."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from wingbeat.errors import RequestError
from wingbeat.files import parquet, write_bytes
from wingbeat.locks import holding
from wingbeat.study.condition import Condition
from wingbeat.study.delivery import Delivering, Depot
from wingbeat.study.grid import unique
from wingbeat.study.ledger import Ledger, Record
from wingbeat.study.outcome import StudyResult, collect
from wingbeat.study.pack import check_pack, members, packed, workers_of
from wingbeat.study.runner import InlineRunner, Runner, Work
from wingbeat.study.work import Worker

TRIES = 2
"""Attempts at a condition in one call before it is given up."""
Further = Callable[[StudyResult], Sequence[Condition]]
"""From what is done to what is done next; none ends the study."""
Progress = Callable[[Record, int, int], object]
"""Takes each record, how many conditions have ended, and how many there were to do."""


def run_study(
    conditions: Sequence[Condition],
    out: str | Path,
    runner: Runner | None = None,
    *,
    tries: int = TRIES,
    keep_weights: bool = False,
    progress: Progress = lambda *_: None,
    seconds: float | None = None,
    store: str | None = None,
    pack: int | None = None,
    further: Further | None = None,
) -> StudyResult:
    """Do what is left of a study and return all of it.

    The same call on the same folder goes on where it stopped: finished conditions are not
    touched, a half-trained one goes on from its last checkpoint. A condition that fails, or
    whose process dies, is tried again after the others, ``tries`` times in one call.

    Args:
        conditions: the grid; repeated ones count once.
        out: folder of the study. Conditions of other grids in it are left alone.
        runner: who does the work; by default this process, one after the other.
        tries: attempts at each condition.
        keep_weights: keep the snapshots of finished conditions (may be large).
        progress: called at the end of every attempt.
        seconds: time after which no further condition is begun; those under way end.
        store: where workers that do not see ``out`` deliver their records, as fsspec reads it
            (``s3://bucket/study``); they compute in scratch folders, and a condition whose
            worker is lost starts again. None: workers write to ``out``.
        pack: most conditions that a worker takes at once, to train them in the same calls; 1
            does one after the other, None takes up to eight that differ in numbers only (base
            seed, rate, size of the nudge) where a net is so small that it pays, or 1 where
            ``seconds`` limits the time. No bit depends on it.
        further: asked for the next conditions whenever all are done or given up, with all that
            is known; the study ends when it names none that are new.

    Returns:
        The result; ``conditions.parquet`` and ``table.parquet`` hold its tables. With pinned
        drivers the bytes of ``table.parquet`` depend neither on the runner nor on packs.

    Raises:
        RequestError: there is no condition, or tries, seconds or pack is out of range.
        StoreError: another process works on the folder, or a record is damaged.
    """
    grid = unique(conditions)
    if not grid or tries < 1:
        raise RequestError(f"{len(grid)} conditions, tries {tries!r}: give at least one of each")
    if seconds is not None and not seconds > 0:
        raise RequestError(f"seconds is {seconds!r}: give a positive time, or None for no limit")
    # Conditions of a pack begin and end together: a time limit would end after all of them.
    most = check_pack(1 if pack is None and seconds is not None else pack)
    ledger = Ledger(Path(out))
    depot = Depot(store) if store is not None else None
    with holding(ledger.folder):
        course = _Course(ledger, tries, progress, depot, _deadline(seconds), most)
        runner, work = runner or InlineRunner(), _work(ledger, depot, keep_weights)
        course.follow(runner, work, grid)
        result = collect(ledger, grid, course.failed)
        while further and (more := _new(further(result), grid)):
            grid += more
            course.follow(runner, work, more)
            result = collect(ledger, grid, course.failed)
        write_bytes(ledger.folder / "conditions.parquet", parquet(result.conditions))
        write_bytes(ledger.folder / "table.parquet", parquet(result.table))
    return result


def _new(conditions: Sequence[Condition], grid: Sequence[Condition]) -> list[Condition]:
    known = {c.key for c in grid}
    return [c for c in unique(conditions) if c.key not in known]


def _work(ledger: Ledger, depot: Depot | None, keep_weights: bool) -> Work:
    if depot is not None:
        return Delivering(partial(Worker, keep_weights=keep_weights), depot)
    return Worker(ledger.folder.resolve(), keep_weights)


@dataclass
class _Course:
    """The way through a grid: what was tried how often, and what failed last.

    What a worker gives back from a pack, because it gains nothing or because its process died, is
    done by itself in the next round, and so is what failed.
    """

    ledger: Ledger
    tries: int
    progress: Progress
    depot: Depot | None
    deadline: float
    most: int
    ended: int = 0
    attempts: Counter[str] = field(default_factory=Counter)
    failed: dict[str, Record] = field(default_factory=dict)
    packs: dict[str, Condition] = field(default_factory=dict)
    back: set[str] = field(default_factory=set)

    def follow(self, runner: Runner, work: Work, grid: Sequence[Condition]) -> None:
        """Map the work over what is left until it is done, given up or out of time."""
        if self.depot is not None:
            left = {c.key for c in self.ledger.left(grid)}
            self.depot.fetch(self.ledger, sorted(left & self.depot.keys()))
        waiting = self.ledger.left(grid)
        total, most = self.ended + len(waiting), self.most
        while waiting:
            handed = packed(waiting, workers_of(runner), most)
            self.packs, self.back, most = {c.key: c for c in handed}, set(), 1
            for record in runner.map(work, self._handed_out(handed)):
                for one in self._apart(record):
                    self._take(one)
                    self.progress(one, self.ended, total)
            waiting = [c for c in waiting if self._is_open(c.key)]
            if time.monotonic() >= self.deadline:
                break

    def _is_open(self, key: str) -> bool:
        return key in self.back or (key in self.failed and self.attempts[key] < self.tries)

    def _handed_out(self, handed: Sequence[Condition]) -> Iterator[Condition]:
        for condition in handed:
            if time.monotonic() >= self.deadline:
                return
            for one in members(condition):
                self.ledger.note("waiting", one.key, attempt=self.attempts[one.key] + 1)
            yield condition

    def _apart(self, record: Record) -> list[Record]:
        """Return a record for each condition of a pack that has ended; others go back."""
        pack = members(self.packs[record.key]) if record.key in self.packs else ()
        found = list(record.each)
        if record.status == "died" and len(pack) > 1:
            # Whose fault it was is not known: nobody's attempt is counted.
            self.attempts.subtract([record.key])
            self.back.add(record.key)
            found += [Record(c.key, "done") for c in pack[1:] if self.ledger.is_done(c.key)]
        self.back |= {c.key for c in pack} - {one.key for one in found}
        return found

    def _take(self, record: Record) -> None:
        if record.status == "done" and self.depot is not None:
            self.depot.fetch(self.ledger, [record.key])
        self.ledger.end(record)
        self.attempts[record.key] += 1
        self.failed.pop(record.key, None)
        if record.status != "done":
            self.failed[record.key] = record
        self.ended += record.status == "done" or self.attempts[record.key] >= self.tries


def _deadline(seconds: float | None) -> float:
    # The monotonic clock: a jump of the wall clock must not end a study.
    return float("inf") if seconds is None else time.monotonic() + seconds
