"""The demonstration: two small nets, nudged and measured, and the quick study of dynamics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wingbeat.errors import WingbeatError
from wingbeat.execution.run import run
from wingbeat.measure.metric import default_names
from wingbeat.replicas.perturb import Gaussian
from wingbeat.report.prose import floor_text, interval, number, reason
from wingbeat.report.result_access import ResultEntry, entry, names
from wingbeat.report.verdict_text import copies, no_one_rate, read, reference, verdict
from wingbeat.studies.dynamics import STUDY, DynamicsPlan
from wingbeat.tasks.cnn import digits_task
from wingbeat.tasks.dense import circles_task
from wingbeat.terminal import echo

if TYPE_CHECKING:
    from wingbeat.execution.result import Result
    from wingbeat.study.runner import Runner
    from wingbeat.task.task import Task

METRICS: Final = default_names(evaluated=True)
REPLICAS: Final = 5


def demo(
    out: Path,
    say: Callable[[str], object] = echo,
    *,
    plan: DynamicsPlan | None = None,
    runner: Runner | None = None,
) -> Path:
    """Analyse a dense net on circles and a convolutional net on digits, then run a quick study.

    Each of the two nets is nudged at the start by 1 % of every tensor's standard deviation, and
    half way by a hundredth of that, five times each, and followed to the end of its ten epochs.
    The study is ``wingbeat study dynamics --quick``: 15 architectures of three families. The
    same call again goes on with what is unfinished and repeats no training that is done.

    Args:
        out: a folder; each analysis and the study has a folder below it, with its
            ``report.html``.
        say: takes each line of the account; prints it by default.
        plan: the study; None takes the quick one.
        runner: who does the work of the study; None starts a process for each processor.

    Returns:
        The folder.

    Raises:
        StoreError: the folder holds runs of another request or another execution.
        WingbeatError: a part of the study failed; its report says which.
    """
    pages = []
    analyses: dict[str, Callable[[], Task]] = {
        "circles-dense": circles_task,
        "digits-cnn": digits_task,
    }
    for name, factory in analyses.items():
        result, page = _analysed(factory(), Path(out) / name)
        pages.append(page)
        for line in (*account(result), ""):
            say(line)
    study, page, *_ = STUDY.run(
        plan or DynamicsPlan(quick=True), Path(out) / "dynamics-quick", say=say, runner=runner
    )
    say("\nreports, to open in a browser:")
    for place in (*pages, page):
        say(f"  {place}")
    if study.failures:
        count = len(study.failures)
        raise WingbeatError(f"{count} condition(s) of the study failed: {page} says which")
    return Path(out)


def _analysed(task: Task, folder: Path) -> tuple[Result, Path]:
    half = task.steps // 2
    result = run(
        task,
        [Gaussian(0.01, at=0), Gaussian(1e-4, at=half)],
        replicas=REPLICAS,
        record_every=task.steps_per_epoch,
        metrics=METRICS,
        out=folder,
    )
    page = folder / "report.html"
    if not page.exists():
        result.report(page)
    return result, page


def account(result: Result) -> Iterator[str]:
    """Yield noise floor and reference, then verdict, ratio, copies and rate of each nudge."""
    yield f"{result.condition['task']['name'] or 'run'} ({floor_text(result.noise_floor)})"
    yield f"  reference {': '.join(reference(read(result)))}"
    for name in names(result):
        found = read(result, name)
        ratio, rate = (_told(entry(result, key, name)) for key in ("convergence_ratio", "lyapunov"))
        rate = no_one_rate(found) or rate
        yield f"  {name}: {verdict(result, name)}; final distance between copies ÷ initial: {ratio}"
        yield f"    copies that grew: {', '.join(copies(found))}"
        yield f"    rate at which they part, per step: {rate}"


def _told(value: ResultEntry) -> str:
    if not value.defined:
        return f"undefined, because {reason(value)}"
    return number(value.value) + (
        f" (95 % interval {interval(value)})" if value.has_interval else ""
    )
