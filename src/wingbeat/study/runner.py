"""Who does the work: in this process, or in several; another machine needs one more class.

A runner knows nothing of studies: it maps a picklable function over conditions and yields what
comes back as it comes back. Results of the work itself lie in the study's folder, so a runner
on a cluster needs a shared folder and these two lines of contract, nothing else.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from wingbeat.errors import RequestError
from wingbeat.study.condition import Condition
from wingbeat.study.ledger import Record

Work = Callable[[Condition], Record]
"""Does one condition. It catches the errors of the work and returns them in the record."""


class Runner(Protocol):
    """Maps work over conditions."""

    def map(self, work: Work, conditions: Sequence[Condition]) -> Iterator[Record]:
        """Yield one record for each condition, in the order in which they end.

        A condition whose process died gives a record with the status "died".
        """
        ...


class InlineRunner:
    """Does one condition after the other in this process.

    Example:
        >>> work = lambda condition: Record(condition.key, "done")
        >>> [r.status for r in InlineRunner().map(work, [Condition("m:f")])]
        ['done']
    """

    def map(self, work: Work, conditions: Sequence[Condition]) -> Iterator[Record]:
        """Yield the records in order."""
        return (work(condition) for condition in conditions)


@dataclass
class _Worker:
    """A process, the pipe to it, and what it is doing."""

    process: multiprocessing.process.BaseProcess
    pipe: Connection
    condition: Condition
    since: float


class ProcessRunner:
    """Does conditions in several processes, each with one thread for its arithmetic.

    Processes are started afresh (spawn), so that no state of this one leaks into the results.
    A process that ends in the middle of a condition gives a record with status "died"; the
    others go on, and a new process takes its place.

    Args:
        workers: how many processes; None takes one for each processor that we may use.

    Raises:
        RequestError: fewer than one worker.
    """

    def __init__(self, workers: int | None = None) -> None:
        found = processors() if workers is None else workers
        if not isinstance(found, int) or isinstance(found, bool) or found < 1:
            raise RequestError(f"workers is {workers!r}: use a whole number of at least 1")
        self.workers = found
        self._context = multiprocessing.get_context("spawn")

    def map(self, work: Work, conditions: Sequence[Condition]) -> Iterator[Record]:
        """Yield the records as they come; processes end when the iteration does."""
        waiting, busy = deque(conditions), list[_Worker]()
        try:
            while waiting and len(busy) < self.workers:
                busy.append(self._started(work, waiting.popleft()))
            while busy:
                ready = wait([w.pipe for w in busy])
                for worker in [w for w in busy if w.pipe in ready]:
                    record = _received(worker)
                    busy.remove(worker)
                    if waiting:
                        busy.append(self._next(work, worker, record, waiting.popleft()))
                    else:
                        _end(worker)
                    yield record
        finally:
            for worker in busy:
                worker.process.kill()
                _end(worker)

    def _next(self, work: Work, worker: _Worker, record: Record, condition: Condition) -> _Worker:
        """Give the process its next condition, or replace it if it has died."""
        if record.status != "died":
            with contextlib.suppress(OSError):  # it ended after its last answer
                worker.pipe.send(condition)
                return _Worker(worker.process, worker.pipe, condition, time.monotonic())
        _end(worker)
        return self._started(work, condition)

    def _started(self, work: Work, condition: Condition) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(work, theirs), daemon=True)
        with _one_thread():
            process.start()
        theirs.close()
        ours.send(condition)
        return _Worker(process, ours, condition, time.monotonic())


def processors() -> int:
    """Return how many processors this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _received(worker: _Worker) -> Record:
    try:
        record: Record = worker.pipe.recv()
        return record
    except (EOFError, OSError):
        worker.process.join(5)
        code = worker.process.exitcode
        seconds = time.monotonic() - worker.since
        return Record(worker.condition.key, "died", f"the process ended with code {code}", seconds)


def _end(worker: _Worker) -> None:
    worker.pipe.close()  # the process sees the end of its pipe and returns
    worker.process.join(10)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()


class _one_thread:  # noqa: N801  (reads as a statement)
    """Start processes with one thread for arithmetic: libraries read this when they load."""

    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

    def __enter__(self) -> None:
        self.before = {name: os.environ.get(name) for name in self.names}
        os.environ.update(dict.fromkeys(self.names, "1"))

    def __exit__(self, *_: object) -> None:
        for name, value in self.before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(work: Work, pipe: Any) -> None:
    """Do conditions until the pipe ends."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            condition = pipe.recv()
        except EOFError:
            return
        pipe.send(work(condition))


def _end_with_parent() -> None:
    """End this process when its parent is gone: a killed study must not leave workers behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
