"""Run a study: grid minus done, mapped over a runner, collected into two tables."""

from __future__ import annotations

import json
import shutil
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from filelock import FileLock, Timeout

from wingbeat.errors import RequestError, StoreError
from wingbeat.run import run
from wingbeat.study.condition import Condition, named
from wingbeat.study.grid import unique
from wingbeat.study.ledger import Ledger, Record, parquet
from wingbeat.study.runner import InlineRunner, Runner
from wingbeat.trajectory.tensorfile import write_bytes

TRIES = 2
"""Attempts at a condition in one call before it is given up."""
Progress = Callable[[Record, int, int], object]
"""Takes each record, how many conditions have ended, and how many there were to do."""


@dataclass(frozen=True)
class Study:
    """What a study has found so far.

    Attributes:
        folder: where it lies.
        conditions: one row for each condition of the grid, sorted by key: key, tags, what was
            asked, status, and the scalars of its first perturbation, each as ``name``,
            ``name_low``, ``name_high`` and ``name_reason``.
        table: tidy rows of all finished conditions, sorted: key, seed and the columns of a run.
        failures: the last record of each condition that was given up.
        environments: how each finished condition was executed, by key.
    """

    folder: Path
    conditions: pd.DataFrame
    table: pd.DataFrame
    failures: tuple[Record, ...]
    environments: dict[str, dict[str, Any]]


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
            self._work(condition, begin)
        except Exception as error:  # the rest of the study goes on
            words = traceback.format_exception_only(error)[-1].strip()
            return Record(condition.key, "failed", words, time.monotonic() - begin[0])
        finally:
            torch.set_num_threads(threads)
        return Record(condition.key, "done", "", time.monotonic() - begin[0])

    def _work(self, condition: Condition, begin: tuple[float, float]) -> None:
        ledger = Ledger(self.folder)
        task, folder = condition.task(), ledger.place(condition.key) / "run"
        result = run(
            task,
            condition.forks(),
            replicas=condition.replicas,
            record_every=condition.record_every or task.steps_per_epoch,
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


def run_study(
    conditions: Sequence[Condition],
    out: str | Path,
    runner: Runner | None = None,
    *,
    tries: int = TRIES,
    keep_weights: bool = False,
    progress: Progress = lambda *_: None,
) -> Study:
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

    Returns:
        The study; ``conditions.parquet`` and ``table.parquet`` hold its tables. With pinned
        drivers the bytes of ``table.parquet`` do not depend on the runner.

    Raises:
        RequestError: there is no condition, or tries is below 1.
        StoreError: another process works on the folder, or a record is damaged.
    """
    grid = unique(conditions)
    if not grid or tries < 1:
        raise RequestError(f"{len(grid)} conditions, tries {tries!r}: give at least one of each")
    ledger = Ledger(Path(out))
    with _held(ledger.folder):
        failed = _do(ledger, grid, runner or InlineRunner(), tries, keep_weights, progress)
        study = collect(ledger, grid, failed)
        write_bytes(ledger.folder / "conditions.parquet", parquet(study.conditions))
        write_bytes(ledger.folder / "table.parquet", parquet(study.table))
    return study


def _do(
    ledger: Ledger,
    grid: list[Condition],
    runner: Runner,
    tries: int,
    keep_weights: bool,
    progress: Progress,
) -> dict[str, Record]:
    """Map the work over what is left until it is done or given up; return what was given up."""
    work = Worker(ledger.folder.resolve(), keep_weights)
    left, ended, attempts = ledger.left(grid), 0, Counter[str]()
    total, failed = len(left), dict[str, Record]()
    while left:
        for condition in left:
            ledger.note("waiting", condition.key, attempt=attempts[condition.key] + 1)
        for record in runner.map(work, left):
            ledger.end(record)
            attempts[record.key] += 1
            failed.pop(record.key, None)
            if record.status != "done":
                failed[record.key] = record
            ended += record.status == "done" or attempts[record.key] >= tries
            progress(record, ended, total)
        left = [c for c in left if c.key in failed and attempts[c.key] < tries]
    return failed


def collect(ledger: Ledger, grid: Sequence[Condition], failed: dict[str, Record]) -> Study:
    """Read all records of a grid into one study.

    Raises:
        StoreError: a record is damaged.
    """
    rows, tables, environments = [], [], {}
    for condition in sorted(grid, key=lambda c: c.key):
        row = _asked(condition)
        if not ledger.is_done(condition.key):
            there = failed.get(condition.key)
            rows.append({**row, "status": there.status if there else "not run"})
            continue
        facts, table = ledger.read(condition.key)
        environments[condition.key] = facts["environment"]
        rows.append({**row, "status": "done", **_scalars(facts)})
        tables.append(table.assign(key=condition.key))
    whole = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame({"key": []})
    first = [c for c in ("key", "seed") if c in whole]
    # Rows of a run have an order of their own: a stable sort by key keeps it.
    whole = whole[first + [c for c in whole if c not in first]]
    return Study(ledger.folder, pd.DataFrame(rows), whole, tuple(failed.values()), environments)


def _asked(condition: Condition) -> dict[str, Any]:
    return {
        "key": condition.key,
        **condition.tags,
        "factory": condition.factory,
        "arguments": json.dumps(condition.arguments, sort_keys=True),
        "perturbations": json.dumps(condition.perturbations, sort_keys=True),
        "replicas": condition.replicas,
        "seeds": json.dumps(condition.seeds),
        "dtype": condition.dtype,
        "driver": condition.driver,
    }


def _scalars(facts: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "seconds": facts["seconds"],
        "processor_seconds": facts["processor_seconds"],
        "steps": facts["steps"],
        "steps_per_epoch": facts["steps_per_epoch"],
        "warnings": len(facts["warnings"]),
    }
    for name, found in facts["summary"].items():
        if "/" in name:
            continue
        row[name] = found["value"]
        if isinstance(found["value"], str):
            continue
        row[name] = _number(found["value"])
        for part in ("low", "high"):
            row[f"{name}_{part}"] = _number(found.get(part))
        row[f"{name}_reason"] = found.get("reason", "")
    return row


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


class _held:  # noqa: N801  (reads as a statement)
    """Hold the folder of a study against other processes; a kill frees it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lock = folder, FileLock(folder / ".lock")

    def __enter__(self) -> None:
        try:
            self.lock.acquire(timeout=0)
        except Timeout as error:
            msg = f"another process works on {self.folder}: wait for it, or choose another folder"
            raise StoreError(msg) from error

    def __exit__(self, *_: object) -> None:
        self.lock.release()
