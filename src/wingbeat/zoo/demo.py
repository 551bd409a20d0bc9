"""The demonstration: two small nets, forked, nudged and measured, each with a report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from wingbeat.replicas.perturb import Gaussian
from wingbeat.report.reading import Entry, entry, names
from wingbeat.report.words import floor_text, interval, number, reason
from wingbeat.run import run
from wingbeat.zoo.cnn import digits_task
from wingbeat.zoo.dense import circles_task

if TYPE_CHECKING:
    from wingbeat.result import Result
    from wingbeat.task.task import Task

METRICS: Final = ("l2", "spread", "cosine", "disagreement")
REPLICAS: Final = 5


def demo(out: Path, say: Callable[[str], object] = typer.echo) -> Path:
    """Analyse a dense net on circles and a convolutional net on digits.

    Each is nudged at the start by 1 % of the initial weights' size and half way by a hundredth
    of that, five times each, and followed to the end of its ten epochs. The same call again
    goes on with what is unfinished and repeats nothing that is done.

    Args:
        out: a folder; each analysis becomes a run in a folder below it, with its ``report.html``.
        say: takes each line of the account; prints it by default.

    Returns:
        The folder.

    Raises:
        StoreError: the folder holds runs of another request or another execution.
    """
    analyses: dict[str, Callable[[], Task]] = {
        "circles-dense": circles_task,
        "digits-cnn": digits_task,
    }
    for name, factory in analyses.items():
        result, page = _analysed(factory(), Path(out) / name)
        for line in account(result):
            say(line)
        say(f"  report: {page}\n")
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
    """Yield the verdict on each perturbation in plain words, after a line with the noise floor."""
    yield f"{result.condition.get('name') or 'run'} ({floor_text(result.noise_floor)})"
    for name in names(result):
        ratio, rate = (entry(result, key, name) for key in ("convergence_ratio", "lyapunov"))
        verdict = result.summary[f"{name}/behavior"]["value"]
        yield f"  {name}: {verdict}; the copies end {_with_interval(ratio)} times as far apart"
        yield f"    as they began, and part at a rate of {_with_interval(rate)} per step."


def _with_interval(value: Entry) -> str:
    if not value.defined:
        return f"undefined ({reason(value)})"
    return number(value.value) + (f" ({interval(value)})" if value.has_interval else "")
