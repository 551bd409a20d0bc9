"""What the studies of curvature share: a grid is run, judged, and shown as tables and a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple, TypedDict, Unpack

import numpy as np
import pandas as pd

from wingbeat.report.figures import Line
from wingbeat.report.finding_page import FindingPage, write_finding_page
from wingbeat.report.study_figures import Dot, StudyFigure
from wingbeat.report.study_page import Table
from wingbeat.report.words import REASON_TEXT, number
from wingbeat.stats import Estimate
from wingbeat.studies.dynamics.estimates import over_seeds
from wingbeat.study.condition import Condition
from wingbeat.study.ledger import Ledger, Record
from wingbeat.study.outcome import StudyResult
from wingbeat.study.processes import ProcessRunner, processors
from wingbeat.study.run import run_study
from wingbeat.study.runner import Runner

Say = Callable[[str], object]
Section = tuple[str, str, tuple[StudyFigure, ...]]
Tables = dict[str, pd.DataFrame]
STYLES: Final = 6
"""Styles that lines and dots take in turn."""
DEFINITIONS: Final = {
    "sharpness": "Largest eigenvalue of the Hessian of the mean training loss (block Lanczos on "
    "Hessian-vector products), with the penalty of weight decay. Over at most 1,000 evenly "
    "spaced training samples.",
    "threshold": "Curvature above which the optimizer's step is unstable on a quadratic: 2/η for "
    "gradient descent, (2 + 2β)/η with Polyak's, (2 + 2β)/(η(1 + 2β)) with Nesterov's momentum.",
    "intervals": "95 %, Student's over base seeds; none below three seeds.",
}


@dataclass(frozen=True)
class Words:
    """What the page of a study says besides figures and tables."""

    title: str
    headline: str
    intro: tuple[str, ...]
    facts: tuple[tuple[str, str, str], ...]
    definitions: dict[str, str]
    command: str
    alarms: tuple[str, ...] = ()


class Shown(NamedTuple):
    """The page of a study: words, sections of figures, and tables with their titles."""

    words: Words
    sections: Sequence[Section]
    tables: Sequence[tuple[str, str, Table]]


class Finding(NamedTuple):
    """A study that has been run and judged.

    Attributes:
        study: its conditions.
        page: path of its report; None if no condition has finished.
        tables: what it found, by the names of their CSV files in the study's folder.
    """

    study: StudyResult
    page: Path | None
    tables: Tables


class How(TypedDict, total=False):
    """How a grid is run; see ``run_grid``."""

    runner: Runner | None
    workers: int | None
    say: Say


def find(
    grid: Sequence[Condition],
    out: str | Path,
    judge: Callable[[StudyResult], Tables],
    show: Callable[[StudyResult, Tables], Shown],
    **how: Unpack[How],
) -> Finding:
    """Run what is left of a grid, judge it, write its tables and its page.

    Args:
        grid: the conditions.
        out: folder; the same call again goes on where it stopped.
        judge: from the study to tables of findings, which are written as CSV.
        show: from both to the page.
        how: see ``run_grid``.
    """
    study = run_grid(grid, out, **how)
    if not len(done(study)):
        how.get("say", print)("no condition has finished: there is nothing to report")
        return Finding(study, None, {})
    tables = judge(study)
    for name, table in tables.items():
        table.to_csv(study.folder / f"{name}.csv", index=False)
    page = write_page(study, show(study, tables))
    how.get("say", print)(f"report: {page}")
    return Finding(study, page, tables)


def command_line(name: str, plan: Any, usual: Mapping[str, Any], options: Mapping[str, str]) -> str:
    """Return the command that runs a plan, without what is usual.

    Args:
        name: of the study.
        plan: a dataclass of numbers, words and tuples of them; a tuple repeats its option.
        usual: the fields of the plan by default.
        options: field → option, where they differ by more than the dashes.
    """
    words = [f"wingbeat study {name}"]
    for field in fields(plan):
        value = getattr(plan, field.name)
        if value == usual[field.name]:
            continue
        option = options.get(field.name, field.name.replace("_", "-"))
        each = value if isinstance(value, tuple) else (value,)
        words += [f"--{option} {v:g}" if isinstance(v, float) else f"--{option} {v}" for v in each]
    return " ".join(words)


def run_grid(
    grid: Sequence[Condition],
    out: str | Path,
    *,
    runner: Runner | None = None,
    workers: int | None = None,
    say: Say = print,
) -> StudyResult:
    """Run what is left of a grid and say how each condition ended.

    Args:
        grid: the conditions.
        out: folder; the same call again goes on where it stopped.
        runner: who does the work; None starts processes.
        workers: how many processes; None takes one for each processor.
        say: takes each line.
    """
    shown = {c.key: ", ".join(f"{k} {v}" for k, v in c.tags.items()) for c in grid}

    def told(record: Record, ended: int, total: int) -> None:
        end = f"{record.seconds:.1f} s" if record.status == "done" else record.error
        say(f"[{ended}/{total}] {shown[record.key]}: {record.status}, {end}")

    left = Ledger(Path(out)).left(grid)
    say(f"{len(grid)} conditions, {len(grid) - len(left)} of them done already")
    chosen = runner or ProcessRunner(workers or processors())
    return run_study(grid, out, chosen, progress=told)


def series(study: StudyResult, key: str, name: str) -> tuple[list[int], list[float]]:
    """Return steps and values that a measure stored as ``name/step`` in one record."""
    summary = Ledger(study.folder).facts(key)["summary"]
    found = sorted(
        (int(place.split("/", 1)[1]), entry["value"])
        for place, entry in summary.items()
        if place.startswith(f"{name}/")
    )
    values = [float("nan") if v is None else float(v) for _, v in found]
    return [s for s, _ in found], values


def done(study: StudyResult) -> pd.DataFrame:
    """Return the finished conditions."""
    rows: pd.DataFrame = study.conditions[study.conditions["status"] == "done"]
    return rows


def mean_of(rows: pd.DataFrame, column: str) -> Estimate:
    """Return the mean of a column over base seeds; undefined where one of them is."""
    reasons = [r for r in rows.get(f"{column}_reason", pd.Series(dtype=str)) if r]
    values = rows[column].to_numpy(dtype=np.float64) if column in rows else np.array([])
    return over_seeds(values, reason=reasons[0] if reasons else "")


def dot(place: float, found: Estimate, group: str, style: int, hover: str) -> Dot:
    """Return a value with its interval as a mark of a figure."""
    said = f"{hover}: {number(found.value)}"
    if np.isfinite([found.low, found.high]).all():
        said += f" [{number(found.low)} to {number(found.high)}]"
    return Dot(place, found.value, found.low, found.high, group, style, said)


def line(name: str, style: int, x: Sequence[float], y: Sequence[float], **more: Any) -> Line:
    """Return a curve that has an entry of its own in the key."""
    numbers = tuple(float(v) for v in y)
    return Line(name, name, style % STYLES, tuple(float(v) for v in x), numbers, **more)


def table_of(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Return a table of words and numbers."""

    def text(cell: object) -> str:
        if isinstance(cell, Estimate):
            if not np.isfinite(cell.value):
                why = REASON_TEXT.get(cell.reason, cell.reason)
                return f"undefined: {why}" if why else "undefined"
            if not np.isfinite([cell.low, cell.high]).all():
                return number(cell.value)
            return f"{number(cell.value)} [{number(cell.low)} to {number(cell.high)}]"
        return number(cell) if isinstance(cell, float) else str(cell)

    return Table(tuple(heads), tuple(tuple(text(c) for c in row) for row in rows))


def write_page(study: StudyResult, shown: Shown) -> Path:
    """Write ``report.html`` in the study's folder."""
    words = shown.words
    failures = tuple(
        f"Condition {r.key} was given up ({r.status}): {r.error}" for r in study.failures
    )
    missing = int((study.conditions["status"] == "not run").sum())
    more = (f"{missing} conditions are not done: run the same command again.",) if missing else ()
    page = FindingPage(
        title=words.title,
        headline=words.headline,
        alarms=(*words.alarms, *failures, *more),
        facts=words.facts,
        intro=words.intro,
        sections=tuple(shown.sections),
        tables=tuple(shown.tables),
        asked=tuple(_executed(study)),
        definitions=tuple(words.definitions.items()),
        command=words.command,
        version=version("wingbeat"),
    )
    return write_finding_page(page, study.folder / "report.html")


def _executed(study: StudyResult) -> list[tuple[str, str]]:
    rows = []
    for column in ("factory", "arguments", "dtype", "driver"):
        values = dict.fromkeys(str(v) for v in study.conditions[column])
        shown = list(values)[:3] + (["…"] if len(values) > 3 else [])
        rows.append((column, "; ".join(shown)))
    for name in ("wingbeat", "torch", "python", "platform", "processor"):
        found = dict.fromkeys(str(e.get(name, "")) for e in study.environments.values())
        rows.append((name, ", ".join(found)))
    return rows
