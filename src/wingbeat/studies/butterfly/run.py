"""The spawn-and-perturb study: from when on does a small change no longer lead elsewhere?

Copies of a training run are perturbed at a time, by a size and in a kind, and trained on with
the same noise; how high is the barrier between where they end? After Altıntaş et al., "The
Butterfly Effect: Neural Network Training Trajectories Are Highly Sensitive to Initial
Conditions" (ICML 2025, arXiv 2506.13234). ``wingbeat study butterfly`` runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from wingbeat.errors import RequestError
from wingbeat.studies.butterfly.command import command_of
from wingbeat.studies.butterfly.plan import Plan, conditions, replica_steps, settled
from wingbeat.study.condition import Condition
from wingbeat.study.ledger import Ledger, Record
from wingbeat.study.outcome import StudyResult
from wingbeat.study.run import run_study
from wingbeat.study.runner import ProcessRunner, Runner, processors


def run_butterfly(
    plan: Plan,
    out: str | Path,
    *,
    runner: Runner | None = None,
    workers: int | None = None,
    say: Callable[[str], object] = print,
    keep_weights: bool = False,
) -> StudyResult:
    """Run what is left of the study.

    Args:
        plan: what to run.
        out: folder; the same call again goes on where it stopped.
        runner: who does the work; None starts processes.
        workers: how many processes; None takes one for each processor.
        say: takes each line of the account.
        keep_weights: keep the snapshots.

    Raises:
        RequestError: the plan does not fit the task, or the folder holds results of another one.
    """
    grid, ledger = conditions(settled(plan, Path(out))), Ledger(Path(out))
    left = ledger.left(grid)
    check_task(grid, left, ledger)
    for line in announcement(plan, grid, left):
        say(line)
    chosen = runner or ProcessRunner(workers or processors())
    return run_study(grid, out, chosen, keep_weights=keep_weights, progress=_telling(grid, say))


def check_task(grid: Sequence[Condition], left: Sequence[Condition], ledger: Ledger) -> None:
    """Refuse finished conditions whose task had another name, as with a stand-in for the data.

    The key of a condition holds what was asked, and where the data lie is not part of it.

    Raises:
        RequestError: one of them had; both names are said.
    """
    open_keys = {c.key for c in left}
    for condition in (c for c in grid if c.key not in open_keys):
        then = ledger.facts(condition.key)["condition"]["tags"].get("task")
        now = condition.tags["task"]
        if then not in (None, now):
            raise RequestError(
                f"{ledger.folder} holds results of {then!r}, and the task is {now!r} now: set "
                "WINGBEAT_DATA as it was then, or use another folder"
            )


def announcement(plan: Plan, grid: Sequence[Condition], left: Sequence[Condition]) -> list[str]:
    """Return what is said before anything is trained: how much, on what data."""
    done = len(grid) - len(left)
    already = f", {done} of them done already" if done else ""
    lines = [
        (
            f"{len(plan.interventions)} interventions x {plan.seeds} base seeds = {len(grid)} "
            f"conditions{already}"
        ),
        f"each: {len(plan.cells)} cells x {plan.replicas} replicas, one pass",
    ]
    lines += [f"  {name}" for name in dict.fromkeys(str(c.tags["task"]) for c in grid)]
    if left:
        one, pairs = (sum(x) for x in zip(*(replica_steps(c) for c in left), strict=True))
        lines.append(f"{one:,} replica-steps to train; each pair from scratch would be {pairs:,}")
    return lines


def _telling(
    grid: Sequence[Condition], say: Callable[[str], object]
) -> Callable[[Record, int, int], object]:
    words = {c.key: f"{c.tags['intervention']}, base seed {c.tags['seed']}" for c in grid}

    def told(record: Record, ended: int, total: int) -> None:
        how = f"{record.seconds:.1f} s" if record.status == "done" else record.error
        say(f"[{ended}/{total}] {words[record.key]}: {how}")

    return told


def study_butterfly(
    plan: Plan,
    out: str | Path,
    *,
    workers: int | None = None,
    say: Callable[[str], object] = print,
    runner: Runner | None = None,
    keep_weights: bool = False,
) -> tuple[StudyResult, Path]:
    """Run what is left of the study and write its tables, summary and page.

    Args:
        plan: what to run.
        out: folder of the study.
        workers: how many processes; None takes one for each processor.
        say: takes each line of the account.
        runner: who does the work; None starts processes.
        keep_weights: keep the snapshots.

    Returns:
        The study and the path of its page.
    """
    from wingbeat.studies.butterfly.page import write_outputs

    plan = settled(plan, Path(out))
    study = run_butterfly(
        plan, out, runner=runner, workers=workers, say=say, keep_weights=keep_weights
    )
    files = write_outputs(plan, study, command_of(plan))
    for record in study.failures:
        say(f"given up: {record.key} ({record.status}, {record.error})")
    say(f"tables: {files.markdown}")
    say(f"report: {files.page}")
    return study, files.page
