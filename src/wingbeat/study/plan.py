"""A dry run: which conditions, how many are done, and what the rest will cost by measurement."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from math import isnan
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from wingbeat.execution.run import run
from wingbeat.study.axes import varying
from wingbeat.study.condition import Condition
from wingbeat.study.grid import unique
from wingbeat.study.ledger import Ledger
from wingbeat.study.runner.fresh import fresh, inherited
from wingbeat.task.task import Task
from wingbeat.worker_server import THREADS, environment

ENOUGH = 5
"""Finished conditions from which their own times are better than a probe."""


@dataclass(frozen=True)
class CostProbe:
    """What a few steps of one condition cost, and what follows for all of it.

    Attributes:
        key: of the condition.
        seconds: expected for the whole condition.
        seconds_per_step: of all replicas together.
        seconds_per_snapshot: to write and measure one.
        seconds_to_start: what does not depend on the length.
        memory: largest resident size of the process so far, in bytes, torch included.
        parameters: trainable numbers of the model.
        disk: bytes of all snapshots while the condition is under way.
    """

    key: str
    seconds: float
    seconds_per_step: float
    seconds_per_snapshot: float
    seconds_to_start: float
    memory: int
    parameters: int
    disk: int


@dataclass(frozen=True)
class StudyPlan:
    """What a study would do.

    Attributes:
        conditions: one row for each condition: key, what varies, and whether it is done.
        done: finished conditions.
        left: conditions still to do.
        workers: conditions at a time.
        seconds: expected time of all that is left; NaN where nothing was measured.
        low: the same if each took as long as the fastest that was measured.
        high: the same for the slowest.
        basis: what the times come from.
        memory: bytes of the workers together; 0 where nothing was measured.
        disk: bytes of snapshots that lie on the disk at a time; 0 where nothing was measured.
        probes: what was measured.
    """

    conditions: pd.DataFrame
    done: int
    left: int
    workers: int
    seconds: float
    low: float
    high: float
    basis: str
    memory: int
    disk: int
    probes: tuple[CostProbe, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON, with one entry for each condition."""
        found = {k: v for k, v in vars(self).items() if k not in ("conditions", "probes")}
        unknown = [k for k, v in found.items() if isinstance(v, float) and isnan(v)]
        known = {**found, **dict.fromkeys(unknown)}
        rows = self.conditions.astype(object).where(self.conditions.notna(), None)
        return {
            **known,
            "probes": [asdict(probe) for probe in self.probes],
            "conditions": rows.to_dict("records"),
        }


def plan_study(
    conditions: Sequence[Condition], out: str | Path, *, workers: int = 1, probes: int = 3
) -> StudyPlan:
    """Return what a study would do and cost. Nothing is written to its folder.

    Args:
        conditions: the grid.
        out: folder of the study; it need not exist.
        workers: conditions at a time.
        probes: conditions, spread evenly over what is left, whose first steps are measured in a
            process of its own; 0 measures nothing.

    Returns:
        The plan; its times hold for this machine and one thread for each worker.
    """
    grid, folder = unique(conditions), Path(out)
    done = Ledger(folder).done() if (folder / "records").is_dir() else frozenset()
    left = [c for c in grid if c.key not in done]
    table = varying(grid).reset_index()
    table["status"] = ["done" if c.key in done else "left" for c in grid]
    found = measured(evenly(left, probes))
    seconds, basis = _times(folder, sorted(done & {c.key for c in grid}), found)
    busy = min(workers, len(left))
    rounds = [len(left) * value / max(1, busy) for value in seconds]
    mean = sum(rounds) / len(rounds) if rounds else float("nan")
    return StudyPlan(
        conditions=table,
        done=len(grid) - len(left),
        left=len(left),
        workers=workers,
        seconds=mean if left else 0.0,
        low=min(rounds, default=float("nan")),
        high=max(rounds, default=float("nan")),
        basis=basis,
        memory=busy * max((p.memory for p in found), default=0),
        disk=busy * max((p.disk for p in found), default=0),
        probes=tuple(found),
    )


def evenly(conditions: Sequence[Condition], count: int) -> list[Condition]:
    """Return a few conditions from the first to the last.

    Example:
        >>> grid = [Condition("m:f", {"i": i}) for i in range(10)]
        >>> [c.arguments["i"] for c in evenly(grid, 3)]
        [0, 4, 9]
    """
    if count < 1 or len(conditions) <= count:
        return list(conditions) if count >= 1 else []
    if count == 1:
        return [conditions[0]]
    last = len(conditions) - 1
    return [conditions[i * last // (count - 1)] for i in range(count)]


def measured(conditions: Sequence[Condition]) -> list[CostProbe]:
    """Probe conditions, one after the other, in a fresh process with one thread.

    Raises:
        RequestError: a task cannot be built or run.
    """
    if not conditions:
        return []
    with (
        environment(dict.fromkeys(THREADS, "1")),
        ProcessPoolExecutor(1, fresh(), inherited, (dict(os.environ),)) as pool,
    ):
        return list(pool.map(probe, conditions))


def probe(condition: Condition) -> CostProbe:
    """Train the first steps of a condition and say what all of it will cost.

    Three short runs separate what a step, a snapshot and the start cost; perturbations are made
    at the start, so that a late fork is over-estimated. The first run, which also loads what
    is loaded once, is not counted.
    """
    torch.set_num_threads(1)
    task = condition.task()
    few = max(1, min(4, task.steps // 3))
    _timed(condition, task, few, few)
    short, _ = _timed(condition, task, few, few)
    dense, _ = _timed(condition, task, few, 1)
    long, size = _timed(condition, task, 3 * few, 3 * few)
    step = max(0.0, (long - short) / (2 * few))
    shot = max(0.0, (dense - short) / (few - 1)) if few > 1 else 0.0
    start = max(0.0, short - few * step - 2 * shot)
    snapshots = task.steps // condition.steps_between(task) + 2
    seeds = len(condition.seeds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return CostProbe(
        key=condition.key,
        seconds=seeds * (start + step * task.steps + shot * snapshots),
        seconds_per_step=step,
        seconds_per_snapshot=shot,
        seconds_to_start=start,
        memory=peak * (1 if sys.platform == "darwin" else 1024),
        parameters=sum(p.numel() for p in task.model().parameters()),
        disk=seeds * snapshots * size,
    )


def _timed(condition: Condition, task: Task, steps: int, every: int) -> tuple[float, int]:
    """Return the seconds of a short run and the size of its last snapshot in bytes."""
    forks = tuple({**p, "at": 0} if "at" in p else p for p in condition.perturbations)
    with tempfile.TemporaryDirectory(prefix="wingbeat-probe-") as folder:
        begin = time.perf_counter()
        result = run(
            replace(task, steps=steps),
            replace(condition, perturbations=forks).forks(),
            replicas=condition.replicas,
            record_every=every,
            metrics=condition.metrics,
            driver=condition.driver,
            compiled=condition.compiling,
            dtype=condition.torch_dtype,
            device=condition.device,
            seeds=condition.seeds[:1],
            out=folder,
            progress=False,
        )
        seconds = time.perf_counter() - begin
        assert result.steps[-1] == steps
        sizes = [p.stat().st_size for p in Path(folder).rglob(f"{steps:06d}.safetensors")]
    return seconds, max(sizes, default=0)


def _times(
    folder: Path, done: Sequence[str], probes: Sequence[CostProbe]
) -> tuple[list[float], str]:
    """Return the seconds of conditions that are known, and how."""
    if len(done) >= ENOUGH:
        some = done[:: max(1, len(done) // 50)]
        found = [float(Ledger(folder).facts(key)["seconds"]) for key in some]
        return found, f"the times of {len(found)} finished conditions"
    if probes:
        return [p.seconds for p in probes], f"the first steps of {len(probes)} conditions"
    return [], "nothing measured"
