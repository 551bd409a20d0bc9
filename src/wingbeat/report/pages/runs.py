"""The page of several runs side by side: a row for each, their ratios, and what differs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from wingbeat.report.drawing.any_figure import drawn
from wingbeat.report.drawing.rendered import Section
from wingbeat.report.figures.families import families
from wingbeat.report.figures.marks import Dot, DotFigure
from wingbeat.report.figures.records import Guide, Line, LineFigure
from wingbeat.report.figures.table import Table
from wingbeat.report.pages.definitions import definitions
from wingbeat.report.pages.document import render_document, write_document
from wingbeat.report.pages.first_screen import (
    AnswerCell,
    AnswerColumn,
    Answers,
    answers,
    term_places,
)
from wingbeat.report.prose import interval, number
from wingbeat.report.result_access import ResultEntry, ResultLike, entry, names
from wingbeat.report.verdict_text import alarms, read
from wingbeat.report.what_was_trained import subject
from wingbeat.version import __version__

Runs = Mapping[str, ResultLike]
_LONGEST = 60


def write_runs_page(runs: Runs, differences: pd.DataFrame, path: Path) -> Path:
    """Write the page of several runs to a file and return its path.

    Args:
        runs: by name.
        differences: what differs between the requests: a column with the fields, one for each run.
        path: the file; its folder must exist.

    Raises:
        StoreError: the file cannot be written; an earlier one is as it was.
    """
    return write_document(render_runs_page(runs, differences), path)


def render_runs_page(runs: Runs, differences: pd.DataFrame) -> str:
    """Return the page of several runs as HTML text."""
    terms = tuple({d.term: d for r in runs.values() for d in definitions(r)}.values())
    places = term_places(terms)
    figures = [f for f in (_ratios(runs), _spreads(runs)) if f is not None and not f.empty]
    lead = drawn(figures[0], "first") if figures else None
    rest = tuple(drawn(f, f"more-{i}") for i, f in enumerate(figures[1:], start=1))
    first = (Section("first", "", (lead,)),) if lead else ()
    more = (Section("more", "How the spread changes", rest),) if rest else ()
    return render_document(
        "runs.html",
        (*first, *more),
        lead=lead,
        names=tuple(runs),
        headline=_headline(runs),
        subjects=[(run, subject(result)) for run, result in runs.items()],
        answers=_rows(runs, places),
        differences=_shown(differences),
        definitions=terms,
        places=places,
        alarms=tuple(f"{run}: {said}" for run, r in runs.items() for said in alarms(r)),
        failed=any(read(r).training_failed for r in runs.values()),
        version=__version__,
    )


def _headline(runs: Runs) -> str:
    """Return how far the copies of each run went, the furthest first, with their intervals."""
    found = [(entry(r, "convergence_ratio", _first(r)), run) for run, r in runs.items()]
    known = sorted(((e, run) for e, run in found if e.defined), key=lambda f: -f[0].value)
    if not known:
        return f"{len(runs)} runs, and the convergence ratio of none is defined."
    said = [f"{run} ends at {_doubted(e)} times its first spread" for e, run in known[:3]]
    more = [f"{len(known) - 3} more are below"] if len(known) > 3 else []
    return f"{'; '.join((*said, *more))}."


def _doubted(ratio: ResultEntry) -> str:
    doubt = interval(ratio) if ratio.has_interval else "no interval"
    return f"{number(ratio.value)} ({doubt})"


def _first(result: ResultLike) -> str | None:
    return next(iter(names(result)), None)


def _rows(runs: Runs, places: Mapping[str, str]) -> Answers:
    """Return the rows of all runs with the columns that any of them has."""
    found = {run: answers(result, places) for run, result in runs.items()}
    heads = dict.fromkeys(c for own in found.values() for c in own.columns)
    rows = []
    for run, own in found.items():
        at = {column: place for place, column in enumerate(own.columns)}
        for row in own.every:
            cells = [row[at[c]] if c in at else AnswerCell("–") for c in heads]
            rows.append((AnswerCell(run), *cells))
    return Answers((AnswerColumn("run", ""), *heads), tuple(rows), ())


def _ratios(runs: Runs) -> DotFigure | None:
    """Return the convergence ratio of every run and perturbation with its interval."""
    dots: list[Any] = []
    rows: list[Any] = []
    for style, (run, result) in enumerate(runs.items()):
        for name in names(result):
            found = entry(result, "convergence_ratio", name)
            hover = f"{run}, {name}: {number(found.value)}"
            place = len(rows)
            dots.append(Dot(place, found.value, found.low, found.high, run, style, hover))
            rows.append(f"{run}, {name}")
    if not dots:
        return None
    return DotFigure(
        key="ratios",
        title="Convergence ratio of each run, with its 95 % interval",
        caption="Spread of the copies at the last step divided by their spread right after the "
        "nudge. Left of 1 training drew them together, right of it drove them apart; an interval "
        "that holds 1 decides neither.",
        place_label="",
        value_label="convergence ratio",
        dots=tuple(dots),
        rows=tuple(rows),
        guides=(Guide("as far apart as at first", 1.0),),
        log_value=True,
    )


def _spreads(runs: Runs) -> LineFigure | None:
    """Return the spread of each run's first perturbation divided by its first, from its fork on."""
    lines = []
    for style, (run, result) in enumerate(runs.items()):
        own = next(iter(families(result, "spread", positive=True)[0]), None)
        if own is None:
            continue
        base = next((y for y in own.y if y == y), float("nan"))  # noqa: PLR0124  (NaN is not itself)
        steps = tuple(x - own.x[0] for x in own.x)
        scaled = tuple(y / base for y in own.y)
        lines.append(Line(run, run, style, steps, scaled, marked=own.marked))
    if not lines:
        return None
    return LineFigure(
        key="spreads",
        title="Spread of the first perturbation of each run, relative to right after the nudge",
        caption="1 means as far apart as at first. Steps are counted from the nudge on.",
        x_label="step (optimizer updates since the nudge)",
        y_label="spread ÷ first spread (ratio)",
        lines=tuple(lines),
        guides=(Guide("unchanged", 1.0),),
        log_y=True,
    )


def _shown(differences: pd.DataFrame) -> Table:
    """Return what differs as a table of short texts."""
    rows = differences.to_numpy().tolist()
    texts = (tuple(_short(str(value)) for value in row) for row in rows)
    return Table(tuple(map(str, differences.columns)), tuple(texts))


def _short(text: str) -> str:
    text = text or "–"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
