"""What the study of families reads off a run: accuracy, and how far copies are, along training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from wingbeat.studies.curvature import Measured, along, number

if TYPE_CHECKING:
    from wingbeat.execution.result import Result

GRID: Final = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))
"""Accuracies at which copies are looked at: any of them can be what families are compared at."""


def courses(result: Result) -> Measured:
    """Return courses along training, and what holds at the end and at each accuracy of ``GRID``.

    Names: ``accuracy/<step>`` and ``growth/<step>`` for figures; ``weights``; ``accuracy_end``,
    ``<state>_end``; and for an accuracy a ``step_<a>``, ``<state>_<a>``: at the first record at
    which the reference has it. ``growth`` is the geometric mean over copies of distance ÷ distance
    right after the nudge, ``relative`` the mean distance over the norm of the weights.
    """
    table = result.table
    accuracy = course(table, "accuracy", reference=True)
    states = {
        "growth": growth(table),
        "relative": course(table, "relative_l2"),
        "disagreement": course(table, "disagreement"),
    }
    found: Measured = {
        "accuracy_end": number(float(accuracy.iloc[-1])),
        "weights": number(float(sum(w.numel() for w in result.trajectory.at(0).params.values())
                                / len(result.labels))),
        **{f"{name}_end": number(float(own.iloc[-1])) for name, own in states.items()},
        **along("accuracy", pairs(accuracy)),
        **along("growth", pairs(states["growth"])),
    }  # fmt: skip
    for wish in GRID:
        there = accuracy.index[accuracy >= wish]
        step = there[0] if len(there) else None
        name = f"{wish:g}"
        found[f"step_{name}"] = number(np.nan if step is None else float(step), "not_reached")
        for state, own in states.items():
            value = np.nan if step is None else float(own.loc[step])
            found[f"{state}_{name}"] = number(value, "not_reached")
    return found


def pairs(course: pd.Series) -> list[tuple[int, float]]:
    """Return steps and values."""
    return [(int(s), float(v)) for s, v in zip(course.index, course, strict=True)]


def course(table: pd.DataFrame, metric: str, *, reference: bool = False) -> pd.Series:
    """Return a metric by step: of the reference, or the mean over the nudged copies."""
    rows = table[(table["metric"] == metric) & (table["layer"] == "")]
    if reference:
        rows = rows[rows["b"] == "reference"]
    else:
        rows = rows[(rows["a"] == "reference") & rows["b"].str.contains("@", regex=False)]
    found: pd.Series = rows.groupby("step")["value"].mean().sort_index()
    return found


def growth(table: pd.DataFrame) -> pd.Series:
    """Return the geometric mean over copies of distance ÷ distance right after the nudge."""
    rows = table[(table["metric"] == "l2") & (table["layer"] == "") & (table["a"] == "reference")]
    rows = rows[rows["b"].str.contains("@", regex=False)]
    wide = rows.pivot_table(index="step", columns="b", values="value").sort_index()
    found: pd.Series = np.exp(np.log(wide / wide.iloc[0]).mean(axis=1))
    return found
