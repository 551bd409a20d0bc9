"""The study of training dynamics: 21 architectures in three families, nudged at the start.

Every net is trained with copies that start 1 % of each tensor's standard deviation away and see
the same data in the same order. Do the copies end closer together, or farther apart? The
study repeats the article "Random Seeds and Training Trajectories" (rajeshrs.in, 2025) with
coupled noise, several base seeds and intervals. ``wingbeat study dynamics`` runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from wingbeat.errors import NOT_RESAMPLED
from wingbeat.metrics.projection import legacy_ratio
from wingbeat.stats import Estimate
from wingbeat.studies.dynamics.cost import duration, expected_seconds
from wingbeat.studies.dynamics.plan import Plan, command_of, conditions
from wingbeat.study.condition import Condition
from wingbeat.study.ledger import Ledger, Record
from wingbeat.study.outcome import StudyResult
from wingbeat.study.run import run_study
from wingbeat.study.runner import ProcessRunner, Runner, processors
from wingbeat.tasks.architectures import FAMILIES

if TYPE_CHECKING:
    from wingbeat.execution.result import Result


def legacy(result: Result) -> dict[str, dict[str, Any]]:
    """Return the ratio that deep-lyapunov 0.1.2 would print for these trajectories.

    Its copy 0 is unperturbed, so the reference is one of the points. It is computed on
    trajectories with coupled noise, which deep-lyapunov's own are not.
    """
    trajectory = result.trajectory
    keep = [i for i, label in enumerate(trajectory.labels) if label != "null"]
    points = torch.stack(
        [
            torch.cat([t[keep].flatten(1) for t in snapshot.params.values()], dim=1)
            for snapshot in trajectory
        ]
    )
    ratio = legacy_ratio(points)
    return {"legacy_ratio": Estimate(ratio, interval_reason=NOT_RESAMPLED).to_json()}


def run_dynamics(
    plan: Plan,
    out: str | Path,
    *,
    runner: Runner | None = None,
    workers: int | None = None,
    say: Callable[[str], object] = print,
    keep_weights: bool = False,
) -> StudyResult:
    """Run what is left of the study, and say what is happening.

    Args:
        plan: what to run.
        out: folder; the same call again goes on where it stopped.
        runner: who does the work; None starts processes.
        workers: how many processes; None takes one for each processor.
        say: takes each line.
        keep_weights: keep the snapshots (many gigabytes for the large transformers).

    Returns:
        The study with its tables.
    """
    grid = conditions(plan)
    count = workers or processors()
    left = Ledger(Path(out)).left(grid)
    for line in announcement(plan, grid, left, count):
        say(line)
    telling = _Telling(grid, say)
    chosen = runner or ProcessRunner(count)
    return run_study(grid, out, chosen, keep_weights=keep_weights, progress=telling)


def announcement(
    plan: Plan, grid: Sequence[Condition], left: Sequence[Condition], workers: int
) -> list[str]:
    """Return what is said before anything is trained: how much, on what data, for how long."""
    done = len(grid) - len(left)
    already = f", {done} of them done already" if done else ""
    lines = [
        (
            f"{len(plan.architectures)} architectures x {len(plan.base_seeds)} base seeds = "
            f"{len(grid)} conditions{already}"
        )
    ]
    for family in FAMILIES:
        labels = {str(c.tags["data"]) for c in grid if c.tags["family"] == family}
        lines += [f"  {family}: {label}" for label in sorted(labels)]
    if left:
        wall = expected_seconds(left) / min(workers, len(left))
        lines.append(f"expected time with {workers} process(es): about {duration(wall)}")
    return lines


class _Telling:
    """Says how each attempt ended, and how long the rest may take."""

    def __init__(self, grid: Sequence[Condition], say: Callable[[str], object]) -> None:
        self.named = {c.key: c for c in grid}
        self.say = say

    def __call__(self, record: Record, ended: int, total: int) -> None:
        condition = self.named[record.key]
        head = (
            f"[{ended}/{total}] {condition.tags['architecture']}, "
            f"base seed {condition.tags['seed']}"
        )
        if record.status == "done":
            self.say(f"{head}: {record.seconds:.1f} s")
        else:
            self.say(f"{head}: {record.status}, {record.error}")


def study_dynamics(
    plan: Plan,
    out: str | Path,
    *,
    workers: int | None = None,
    say: Callable[[str], object] = print,
    command: str = "",
    runner: Runner | None = None,
) -> tuple[StudyResult, Path]:
    """Run what is left of the study and write its tables, summary and page.

    Args:
        plan: what to run.
        out: folder of the study.
        workers: how many processes; None takes one for each processor.
        say: takes each line of the account.
        command: shown on the page; "" writes the one that does the same.
        runner: who does the work; None starts processes.

    Returns:
        The study and the path of its page.
    """
    from wingbeat.studies.dynamics.page import write_outputs

    study = run_dynamics(plan, out, runner=runner, workers=workers, say=say)
    files = write_outputs(plan, study, command or command_of(plan))
    for record in study.failures:
        say(f"given up: {record.key} ({record.status}, {record.error})")
    say(f"master table: {files.markdown}")
    say(f"report: {files.page}")
    return study, files.page
