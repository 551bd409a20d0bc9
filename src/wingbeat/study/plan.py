"""A dry run: which conditions, how many are done, and what the rest will cost by measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isnan
from pathlib import Path
from typing import Any

import pandas as pd

from wingbeat.study.axes import varying
from wingbeat.study.condition import Condition
from wingbeat.study.grid import unique
from wingbeat.study.ledger import Ledger
from wingbeat.study.probe import CostProbe, measured

ENOUGH = 5
"""Finished conditions from which their own times are better than a probe."""


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
        memory: bytes of the workers together; 0 where nothing was measured, and at least so many
            where fewer copies were.
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
            process of its own, of all copies or of as many as there is time for; 0 measures
            nothing.

    Returns:
        The plan; its times hold for this machine and one thread for each worker.
    """
    grid, folder = unique(conditions), Path(out)
    done = Ledger(folder).done() if (folder / "records").is_dir() else frozenset()
    left = [c for c in grid if c.key not in done]
    table = varying(grid).reset_index()
    table["status"] = ["done" if c.key in done else "left" for c in grid]
    found, unknown = measured(evenly(left, probes))
    seconds, basis = _times(folder, sorted(done & {c.key for c in grid}), found, unknown)
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


def _times(
    folder: Path, done: Sequence[str], probes: Sequence[CostProbe], unknown: str
) -> tuple[list[float], str]:
    """Return the seconds of conditions that are known, and how; else why they are not."""
    if len(done) >= ENOUGH:
        some = done[:: max(1, len(done) // 50)]
        found = [float(Ledger(folder).facts(key)["seconds"]) for key in some]
        return found, f"the times of {len(found)} finished conditions"
    if not probes:
        return [], f"nothing measured{unknown and ': '}{unknown}"
    basis = f"the first steps of {len(probes)} conditions"
    part = min(probes, key=lambda one: one.measured_copies / one.copies)
    if part.measured_copies < part.copies:
        basis += f", scaled up from {part.measured_copies} of {part.copies} copies"
    return [p.seconds for p in probes], f"{basis}{unknown and '; '}{unknown}"
