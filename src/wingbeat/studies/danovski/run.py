"""The study of Danovski, Soriano and Lacasa (arXiv 2404.05782): is training on iris chaotic?

Full-batch gradient descent on a 4-10-3 sigmoid net at η = 0.01, 1 and 5: the paper's numerical
maximum Lyapunov exponent (nMLE) against the size of the nudge, beside it the renormalised
exponent of the same nets, orbital stability, irrelevant weights, the loss at large η, and the
time to accuracy against η. `wingbeat study danovski` runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from wingbeat.studies.danovski.plan import Plan, command_of, conditions, size_text
from wingbeat.study.ledger import Ledger, Record
from wingbeat.study.outcome import StudyResult
from wingbeat.study.run import run_study
from wingbeat.study.runner import ProcessRunner, Runner, processors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wingbeat.study.condition import Condition


def run_danovski(
    plan: Plan,
    out: str | Path,
    *,
    runner: Runner | None = None,
    workers: int | None = None,
    say: Callable[[str], object] = print,
) -> StudyResult:
    """Run what is left of the study.

    Args:
        plan: what to run.
        out: folder; the same call again goes on where it stopped.
        runner: who does the work; None starts processes.
        workers: how many processes; None takes one for each processor.
        say: takes each line of the account.
    """
    grid = conditions(plan)
    done = len(grid) - len(Ledger(Path(out)).left(grid))
    say(f"{len(grid)} measurements, {done} of them done already")
    chosen = runner or ProcessRunner(workers or processors())
    return run_study(grid, out, chosen, progress=_telling(grid, say))


def _telling(
    grid: Sequence[Condition], say: Callable[[str], object]
) -> Callable[[Record, int, int], object]:
    words = {c.key: describe(c) for c in grid}

    def told(record: Record, ended: int, total: int) -> None:
        how = f"{record.seconds:.1f} s" if record.status == "done" else record.error
        say(f"[{ended}/{total}] {words[record.key]}: {how}")

    return told


def describe(condition: Condition) -> str:
    """Return a condition in a few words.

    >>> describe(conditions(Plan(quick=True))[0])
    'nmle, η = 1, ε = 1e-12'
    """
    tags = condition.tags
    size = f", ε = {size_text(tags['epsilon'])}" if tags["epsilon"] else ""
    return f"{tags['experiment']}, η = {tags['eta']:g}{size}"


def study_danovski(
    plan: Plan,
    out: str | Path,
    *,
    workers: int | None = None,
    say: Callable[[str], object] = print,
    runner: Runner | None = None,
) -> tuple[StudyResult, Path]:
    """Run what is left of the study and write its tables, summary and page.

    Args:
        plan: what to run.
        out: folder of the study.
        workers: how many processes; None takes one for each processor.
        say: takes each line of the account.
        runner: who does the work; None starts processes.

    Returns:
        The study and the path of its page.
    """
    from wingbeat.studies.danovski.page import write_outputs

    study = run_danovski(plan, out, runner=runner, workers=workers, say=say)
    files = write_outputs(plan, study, command_of(plan))
    for record in study.failures:
        say(f"given up: {record.key} ({record.status}, {record.error})")
    say(f"tables: {files.markdown}")
    say(f"report: {files.page}")
    return study, files.page
