"""The work on one condition: train, measure, write the record."""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import torch

from wingbeat.errors import StoreError
from wingbeat.execution.run import run
from wingbeat.locks import holding
from wingbeat.study.condition import Condition, named
from wingbeat.study.ledger import Ledger, Record

PATIENCE = 60.0
"""Seconds that a worker waits for a lost one to let go of a condition."""


@dataclass(frozen=True)
class Worker:
    """The work on one condition; picklable.

    Args:
        folder: of the study.
        keep_weights: keep the snapshots when the condition is done.
    """

    folder: Path
    keep_weights: bool = False

    def __call__(self, condition: Condition) -> Record:
        """Train and measure one condition and write its record; errors are returned."""
        begin, threads = (time.monotonic(), time.process_time()), torch.get_num_threads()
        torch.set_num_threads(1)  # another number gives other bits
        try:
            ledger = Ledger(self.folder)
            with _held(ledger.place(condition.key)):
                # A worker that was thought lost may have finished meanwhile.
                if not ledger.is_done(condition.key):
                    self._work(ledger, condition, begin)
        except Exception as error:  # the rest of the study goes on
            words = traceback.format_exception_only(error)[-1].strip()
            return Record(condition.key, "failed", words, time.monotonic() - begin[0])
        finally:
            torch.set_num_threads(threads)
        return Record(condition.key, "done", "", time.monotonic() - begin[0])

    def _work(self, ledger: Ledger, condition: Condition, begin: tuple[float, float]) -> None:
        task, folder = condition.task(), ledger.place(condition.key) / "run"
        result = run(
            task,
            condition.forks(),
            replicas=condition.replicas,
            record_every=condition.steps_between(task),
            metrics=condition.metrics,
            driver=condition.driver,
            compiled=False,
            dtype=condition.torch_dtype,
            device=condition.device,
            seeds=condition.seeds,
            out=folder,
            progress=False,
            factory={"place": condition.factory, "arguments": condition.arguments},
        )
        summary = dict(result.summary)
        for place in condition.measures:
            summary |= named(place)(result)
        facts = {
            "summary": summary,
            "noise_floor": _finite(result.noise_floor),
            "warnings": list(result.warnings),
            "steps": task.steps,
            "steps_per_epoch": task.steps_per_epoch,
            "environment": result.environment,
            "seconds": round(time.monotonic() - begin[0], 3),
            "processor_seconds": round(time.process_time() - begin[1], 3),
        }
        ledger.finish(condition, result.table, facts)
        if not self.keep_weights:
            shutil.rmtree(folder)


@contextmanager
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


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
