"""The page of a study from a file: every condition, and what each axis does to the ratio."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from wingbeat.measure.scalars import SCALARS
from wingbeat.report.figures.marks import Dot, DotFigure
from wingbeat.report.figures.records import Guide
from wingbeat.report.figures.table import Table
from wingbeat.report.pages.definitions import GENERAL
from wingbeat.report.pages.finding import page_of, write_finding
from wingbeat.report.pages.narrow_table import narrow
from wingbeat.report.prose import number
from wingbeat.study.analysis import Analysis, PageContent
from wingbeat.study.axes import varying
from wingbeat.study.condition import Condition
from wingbeat.study.effects import leaderboard, marginal_effects
from wingbeat.study.outcome import StudyResult

RATIO: Final = "convergence_ratio"
_MOST_ROWS: Final = 60
"""Conditions that a figure and a table hold; the files beside the page hold all."""


def write_grid_page(
    found: StudyResult, conditions: Sequence[Condition], name: str, command: str
) -> Path:
    """Write the page of a study from a file, with its tables beside it, and return its path.

    Args:
        found: what the study has found so far.
        conditions: its grid.
        name: of the study.
        command: that runs it again.

    Raises:
        OSError: a file cannot be written.
    """
    axes = varying(conditions)
    rows = found.conditions.merge(
        axes.add_prefix(_OWN), left_on="key", right_index=True, how="left"
    )
    names = tuple(axes.columns)
    done = rows[rows["status"] == "done"]
    tables = _tables(done.rename(columns=lambda c: c.removeprefix(_OWN)), names)
    apart = ", ".join(map(_short, names)) or "nothing"
    intro = (
        f"Every condition is a run of its own: {len(rows)} of them, told apart by {apart}. The "
        "numbers are those of the first perturbation."
    )
    content = PageContent(
        headline=_headline(done, names),
        intro=(intro,),
        facts=(("conditions done", str(len(done)), f"of {len(rows)}"),),
        definitions={d.term: d.meaning for d in _TERMS},
        sections=[("ratios", "The convergence ratio of every condition", _figures(done, names))]
        if len(done)
        else (),
        tables=[(i, head, _as_table(table)) for i, head, table in tables],
        asked=[("conditions", str(len(rows))), ("axes", ", ".join(names) or "none")],
    )
    kept = {ident: table for ident, _, table in tables}
    judged = Analysis(None, found, tables=kept)
    return write_finding(name, page_of(name, content, judged, command), judged)


_OWN = "axis "
_TERMS = (*GENERAL, *(s.definition for s in SCALARS if s.definition is not None))


def _tables(done: pd.DataFrame, names: tuple[str, ...]) -> list[tuple[str, str, pd.DataFrame]]:
    if RATIO not in done or not len(done):
        return []
    done = done.loc[:, ~done.columns.duplicated(keep="last")]
    return [
        ("by-ratio", "Cells by their convergence ratio", leaderboard(done, names, RATIO)),
        ("effects", "What each axis does to it", marginal_effects(done, names, RATIO)),
    ]


def _headline(done: pd.DataFrame, names: tuple[str, ...]) -> str:
    known = done[done[RATIO].notna()] if RATIO in done else done.iloc[:0]
    if not len(known):
        return "No condition has a defined convergence ratio yet."
    ranked = known.sort_values(RATIO, kind="stable")
    low, high = ranked.iloc[0], ranked.iloc[-1]
    if len(known) == 1:
        return f"The convergence ratio of the one condition is {number(low[RATIO])}."
    # A base seed tells nobody anything in a headline; where it is all that differs, it stays.
    names = tuple(name for name in names if name != "seed") or names
    return (
        f"The convergence ratio runs from {number(low[RATIO])} ({_called(low, names)}) to "
        f"{number(high[RATIO])} ({_called(high, names)})."
    )


def _called(row: Any, names: tuple[str, ...]) -> str:
    return ", ".join(f"{_short(n)} {row[_OWN + n]}" for n in names) or str(row["key"])


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _figures(done: pd.DataFrame, names: tuple[str, ...]) -> tuple[DotFigure, ...]:
    if RATIO not in done:
        return ()
    shown = done.sort_values(RATIO, kind="stable").head(_MOST_ROWS)
    labels = [_called(row, names) for _, row in shown.iterrows()]
    dots = [
        Dot(
            place, _float(row[RATIO]), _float(row.get(f"{RATIO}_low")),
            _float(row.get(f"{RATIO}_high")), "condition", 0,
            f"{label}: {number(_float(row[RATIO]))}",
        )
        for place, (label, (_, row)) in enumerate(zip(labels, shown.iterrows(), strict=True))
    ]  # fmt: skip
    left = len(done) - len(shown)
    figure = DotFigure(
        key="ratios",
        title="From the copies that drew together most to those that went apart most",
        caption="Final spread ÷ spread right after the nudge, of the first perturbation, with its "
        "95 % interval." + (f" {left} more conditions are in the files." if left else ""),
        place_label="",
        value_label="convergence ratio",
        dots=tuple(dots),
        rows=tuple(labels),
        guides=(Guide("as far apart as at first", 1.0),),
        log_value=True,
    )
    return () if figure.empty else (figure,)


def _float(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _as_table(table: pd.DataFrame) -> Table:
    shown = narrow(table.head(_MOST_ROWS))
    rows = shown.to_numpy().tolist()
    return Table(tuple(map(str, shown.columns)), tuple(tuple(map(_text, row)) for row in rows))


def _text(value: object) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return number(value) if isinstance(value, float) else str(value)
