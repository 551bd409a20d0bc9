"""Dots, lines and tables of a study's page, made from estimates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wingbeat.errors import REASON_TEXT
from wingbeat.report.figures.marks import Dot
from wingbeat.report.figures.records import Line
from wingbeat.report.figures.table import Table
from wingbeat.report.prose import number
from wingbeat.stats import Estimate


def dot(place: float, found: Estimate, group: str, style: int, hover: str) -> Dot:
    """Return a value with its interval as a mark of a figure."""
    said = f"{hover}: {number(found.value)}"
    if np.isfinite([found.low, found.high]).all():
        said += f" [{number(found.low)} to {number(found.high)}]"
    return Dot(place, found.value, found.low, found.high, group, style, said)


def estimate_line(
    name: str, style: int, x: Sequence[float], y: Sequence[float], **more: Any
) -> Line:
    """Return a curve that has an entry of its own in the key."""
    numbers = tuple(float(v) for v in y)
    return Line(name, name, style, tuple(float(v) for v in x), numbers, **more)


def estimate_text(found: Estimate) -> str:
    """Return a value with its interval in words, or why there is none.

    >>> estimate_text(Estimate(2.0, 1.0, 3.0)), estimate_text(Estimate(2.0))
    ('2 [1 to 3]', '2')
    >>> estimate_text(Estimate(2.0, interval_reason="too_few_seeds"))
    '2 (no interval)'
    >>> estimate_text(Estimate.undefined("no_linear_region"))
    'undefined: the growth follows no line anywhere'
    """
    if not np.isfinite(found.value):
        why = REASON_TEXT.get(found.reason, found.reason)
        return f"undefined: {why}" if why else "undefined"
    if not np.isfinite([found.low, found.high]).all():
        return number(found.value) + " (no interval)" * bool(found.interval_reason)
    return f"{number(found.value)} [{number(found.low)} to {number(found.high)}]"


def table_of(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Return a table of words, numbers and estimates."""
    return Table(tuple(heads), tuple(tuple(_cell(c) for c in row) for row in rows))


def _cell(cell: object) -> str:
    if isinstance(cell, Estimate):
        return estimate_text(cell)
    return number(cell) if isinstance(cell, float) else str(cell)
