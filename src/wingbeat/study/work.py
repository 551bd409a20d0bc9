"""The work on a condition, or on a pack of them: train, measure, write the records."""

from __future__ import annotations

import contextlib
import shutil
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from wingbeat.errors import StoreError
from wingbeat.execution.arguments import check_execution, check_seeds
from wingbeat.execution.progress import Progress
from wingbeat.execution.request import make_request
from wingbeat.execution.session import RunOptions
from wingbeat.execution.several import Begun, Several
from wingbeat.execution.together import train_pack
from wingbeat.locks import holding
from wingbeat.study.condition import Condition, named
from wingbeat.study.ledger import Ledger, Record, Status
from wingbeat.study.pack import members
from wingbeat.turn import alone

if TYPE_CHECKING:
    from wingbeat.execution.result import Result
    from wingbeat.task.task import Task

PATIENCE = 60.0
"""Seconds that a worker waits for a lost one to let go of a condition."""
CHECKPOINT_SECONDS = 10.0
"""Most of a condition's training that a kill takes with it."""


@dataclass(frozen=True)
class Clock:
    """Seconds since a moment, by the wall and of this process, and those counted before it."""

    wall: float
    processor: float
    before: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def start(cls, before: tuple[float, float] = (0.0, 0.0)) -> Clock:
        """Begin now."""
        return cls(time.monotonic(), time.process_time(), before)

    def read(self) -> tuple[float, float]:
        """Return both.

        Example:
            >>> wall, processor = Clock.start((10.0, 5.0)).read()
            >>> wall >= 10.0, processor >= 5.0
            (True, True)
        """
        now = time.monotonic() - self.wall, time.process_time() - self.processor
        return self.before[0] + now[0], self.before[1] + now[1]


@dataclass(frozen=True)
class Worker:
    """The work on one condition, or on a pack of them; picklable.

    Args:
        folder: of the study.
        keep_weights: keep the snapshots when the condition is done.
    """

    folder: Path
    keep_weights: bool = False

    def __call__(self, condition: Condition) -> Record:
        """Train and measure conditions and write their records; errors are returned.

        Of a pack whose conditions gain nothing by each other only the first one is done.
        """
        begin, threads = time.monotonic(), torch.get_num_threads()
        torch.set_num_threads(1)  # another number gives other bits
        try:
            with alone(), Progress(False) as bar:
                first, *others = self._records(members(condition), bar)
            return replace(first, company=tuple(others))
        except Exception as error:  # the rest of the study goes on
            return Record(condition.key, "failed", _words(error), time.monotonic() - begin)
        finally:
            torch.set_num_threads(threads)

    def _records(self, conditions: Sequence[Condition], bar: Progress) -> list[Record]:
        clock, ledger = Clock.start(), Ledger(self.folder)
        with contextlib.ExitStack() as stack:
            attempts = [_Attempt(ledger, c, self.keep_weights) for c in conditions]
            for attempt in attempts:
                stack.callback(attempt.close)
                attempt.begin(bar)
            attempts = _trained(attempts)
            wall, processor = (seconds / len(attempts) for seconds in clock.read())
            return [attempt.finish(Clock.start((wall, processor))) for attempt in attempts]


class _Attempt:
    """A condition that a worker holds, from its task to its record."""

    def __init__(self, ledger: Ledger, condition: Condition, keep_weights: bool) -> None:
        self.ledger, self.condition, self.keep_weights = ledger, condition, keep_weights
        self.folder = ledger.place(condition.key) / "run"
        self.error = ""
        self.begun: Begun | None = None
        self._task: Task
        self._held, self._open = contextlib.ExitStack(), contextlib.ExitStack()

    def begin(self, bar: Progress) -> None:
        """Hold the condition's folder, and build what is to be trained if it is not done."""
        try:
            self._held.enter_context(_held(self.ledger.place(self.condition.key)))
            # A worker that was thought lost may have finished meanwhile.
            if not self.ledger.is_done(self.condition.key):
                self._task = self.condition.task()
                options = RunOptions(
                    self.condition.driver, self.condition.compiling, CHECKPOINT_SECONDS,
                    late=not self.keep_weights,
                )  # fmt: skip
                several = _asked(self.condition, self._task, options, self.folder, bar)
                self.begun = self._open.enter_context(several.begun())
        except Exception as error:  # the rest of the study goes on
            self.error = _words(error)

    def finish(self, clock: Clock) -> Record:
        """Train what is not trained, measure, write the record, and let go of the condition."""
        try:
            if self.begun is not None:
                self._write(self.begun.result(), clock)
                self._open.close()
                if not self.keep_weights:
                    shutil.rmtree(self.folder)
        except Exception as error:  # the rest of the study goes on
            self.error = _words(error)
        self.close()
        status: Status = "failed" if self.error else "done"
        return Record(self.condition.key, status, self.error, clock.read()[0])

    def close(self) -> None:
        """Let go of the condition."""
        self.begun = None
        self._open.close()
        self._held.close()

    def _write(self, result: Result, clock: Clock) -> None:
        summary = dict(result.summary)
        for place in self.condition.measures:
            summary |= named(place)(result)
        wall, processor = clock.read()
        facts = {
            "summary": summary,
            "noise_floor": _finite(result.noise_floor),
            "warnings": list(result.warnings),
            "steps": self._task.steps,
            "steps_per_epoch": self._task.steps_per_epoch,
            "environment": result.environment,
            "seconds": round(wall, 3),
            "processor_seconds": round(processor, 3),
        }
        self.ledger.finish(self.condition, result.table, facts)


def _trained(attempts: Sequence[_Attempt]) -> list[_Attempt]:
    """Train attempts together where that pays; else let go of all but one, and return the rest."""
    left = [attempt for attempt in attempts if attempt.begun is not None]
    sessions = [session for a in left if a.begun is not None for session in a.begun.sessions]
    if len(left) < 2 or train_pack(sessions):
        return list(attempts)
    for attempt in left[1:]:
        attempt.close()
    return [attempt for attempt in attempts if attempt not in left[1:]]


def _asked(
    condition: Condition, task: Task, options: RunOptions, folder: Path, bar: Progress
) -> Several:
    """Return what a condition asks for as a run of its base seeds."""
    check_execution(condition.driver, condition.compiling, CHECKPOINT_SECONDS, False, None)
    request = make_request(
        task,
        condition.forks(),
        replicas=condition.replicas,
        record_every=condition.steps_between(task),
        metrics=condition.metrics,
        dtype=condition.torch_dtype,
        device=condition.device,
        factory={"place": condition.factory, "arguments": condition.arguments},
    )
    seeds = check_seeds(condition.seeds)
    assert seeds is not None
    return Several(request, options, folder, seeds, bar)


@contextlib.contextmanager
def _held(place: Path) -> Iterator[None]:
    """Hold one condition against other workers; a kill frees it."""
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{place} cannot be written ({error.strerror}): make it a writable folder"
        raise StoreError(msg) from error
    with holding(place, PATIENCE):
        yield
        (place / ".lock").unlink(missing_ok=True)  # whoever waits for it finds the record


def _words(error: Exception) -> str:
    return traceback.format_exception_only(error)[-1].strip()


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
