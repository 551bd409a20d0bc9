"""Several processes on this machine, each with one thread for its arithmetic."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

import torch

from wingbeat.errors import RequestError
from wingbeat.study.condition import Condition
from wingbeat.study.ledger import Record
from wingbeat.study.runner.fresh import fresh, inherited
from wingbeat.study.runner.registry import runner
from wingbeat.worker_server import THREADS, environment

if TYPE_CHECKING:
    from wingbeat.study.runner.protocol import Work

STARTS = 10
"""Attempts at starting a process whose server is killed each time."""


@dataclass
class _Worker:
    """A process, the pipe to it, its place among the others, and what it is doing."""

    process: multiprocessing.process.BaseProcess
    pipe: Connection
    slot: int
    condition: Condition
    since: float


class ProcessRunner:
    """Does conditions in several processes, each with one thread for its arithmetic.

    Processes are fresh ones (:func:`wingbeat.study.runner.fresh.fresh`), so that no state of
    this one leaks into the results.
    A process that ends in the middle of a condition gives a record with status "died"; the
    others go on, and a new process takes its place.

    Args:
        workers: how many processes; None takes one for each processor that we may use.
        devices: accelerators to share out, as ``CUDA_VISIBLE_DEVICES`` names them; process i
            sees only number ``i % len(devices)``, under the name "cuda:0". None takes all that
            torch sees.

    Raises:
        RequestError: fewer than one worker.
    """

    def __init__(self, workers: int | None = None, devices: Sequence[str] | None = None) -> None:
        found = processors() if workers is None else workers
        if not isinstance(found, int) or isinstance(found, bool) or found < 1:
            raise RequestError(f"workers is {workers!r}: use a whole number of at least 1")
        self.workers = found
        self.devices = accelerators() if devices is None else tuple(devices)
        self._context = fresh(pinned=bool(self.devices))

    def map(self, work: Work, conditions: Iterable[Condition]) -> Iterator[Record]:
        """Yield the records as they come; processes end when the iteration does."""
        waiting, busy = iter(conditions), list[_Worker]()
        try:
            for slot in range(self.workers):
                if (condition := next(waiting, None)) is None:
                    break
                busy.append(self._started(work, condition, slot))
            while busy:
                ready = wait([w.pipe for w in busy])
                for worker in [w for w in busy if w.pipe in ready]:
                    record = _received(worker)
                    busy.remove(worker)
                    if (condition := next(waiting, None)) is not None:
                        busy.append(self._next(work, worker, record, condition))
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
                return _Worker(
                    worker.process, worker.pipe, worker.slot, condition, time.monotonic()
                )
        _end(worker)
        return self._started(work, condition, worker.slot)

    def _started(self, work: Work, condition: Condition, slot: int) -> _Worker:
        """Start a process; a server that is killed meanwhile is started again with it."""
        for left in reversed(range(STARTS)):
            try:
                return self._start(work, condition, slot)
            except (EOFError, OSError):
                if not left:
                    raise
        raise AssertionError("STARTS is at least 1")

    def _start(self, work: Work, condition: Condition, slot: int) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs,), daemon=True)
        with environment(self.settings(slot)):
            process.start()
            ours.send(dict(os.environ))
        theirs.close()
        ours.send(work)
        ours.send(condition)
        return _Worker(process, ours, slot, condition, time.monotonic())

    def settings(self, slot: int) -> dict[str, str]:
        """Return the environment variables of a process by its place among the others.

        Example:
            >>> ProcessRunner(4, devices=("0", "1")).settings(3)["CUDA_VISIBLE_DEVICES"]
            '1'
        """
        found = dict.fromkeys(THREADS, "1")
        if self.devices:
            found["CUDA_VISIBLE_DEVICES"] = self.devices[slot % len(self.devices)]
        return found


@runner("processes", takes=("workers",), caption="Several processes on this machine.")
def make_processes(workers: int | None = None) -> ProcessRunner:
    """Return the runner of several processes, one for each processor by default."""
    return ProcessRunner(workers)


def processors() -> int:
    """Return how many processors this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def accelerators() -> tuple[str, ...]:
    """Return the CUDA devices that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    count = torch.cuda.device_count()
    return tuple(named[:count]) if named else tuple(str(i) for i in range(count))


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


def _serve(pipe: Any) -> None:
    """Do conditions until the pipe ends; the environment and the work come first."""
    # Ctrl-C reaches every process of a terminal: the one that asked decides, without a traceback
    # from each of those that work for it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        inherited(pipe.recv())
        work: Work = pipe.recv()
        while True:
            pipe.send(work(pipe.recv()))
    except EOFError:
        return


def _end_with_parent() -> None:
    """End this process when its parent is gone: a killed study must not leave workers behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
