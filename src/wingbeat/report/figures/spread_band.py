"""The interval of the spread at each step: over the copies of one base seed, or over base seeds."""

from __future__ import annotations

from dataclasses import replace
from math import nan
from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.report.result_access import base_seeds, rows
from wingbeat.stats import bootstrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from wingbeat.report.figures.records import Line
    from wingbeat.report.result_access import ResultLike
    from wingbeat.typing import Array

FEWEST_SEEDS: Final = 3
"""Base seeds from which on Student's interval over them is drawn; two have their range."""


def with_intervals(result: ResultLike, lines: Sequence[Line]) -> tuple[tuple[Line, ...], str]:
    """Return curves of the spread with a band of 95 %, and what line and band are in words.

    With one base seed the band is that of the table (rows ``spread_low`` and ``spread_high``).
    With three or more it is Student's on the logarithm, for their geometric mean, and the curve is
    that mean. Curves of two base seeds keep their range, those without an interval stay bare.

    Args:
        result: what the curves were taken from.
        lines: the median curve of each perturbation, named by it.
    """
    seeds = len(base_seeds(result))
    if seeds == 2:
        return tuple(lines), ""
    make = _over_seeds if seeds >= FEWEST_SEEDS else _over_copies
    found = tuple(make(result, line) for line in lines)
    if not any(line.low is not None for line in found):
        return found, ""
    if seeds >= FEWEST_SEEDS:
        return found, "Line: geometric mean over base seeds; band: its 95 % interval, step by step."
    return found, (
        "Band: 95 % interval of what as many copies, nudged anew, have on average, step by step; "
        "wide with few copies, which do not show along how many directions they part."
    )


def _over_copies(result: ResultLike, line: Line) -> Line:
    ends = ("spread_low", "spread_high")
    low, high = (_at(rows(result, end, perturbation=line.name), line) for end in ends)
    # A log axis holds no interval that begins at 0, nor the step where all copies are equal.
    drawn = np.isfinite(low) & np.isfinite(high) & (low > 0)
    if not drawn.any():
        return replace(line, low=None, high=None)
    low, high = np.where(drawn, low, nan), np.where(drawn, high, nan)
    return replace(line, low=tuple(map(float, low)), high=tuple(map(float, high)))


def _over_seeds(result: ResultLike, line: Line) -> Line:
    frame = rows(result, "spread", perturbation=line.name)
    steps, values = (frame[c].to_numpy(dtype="float64") for c in ("step", "value"))
    found = [_mean(values[steps == x]) for x in line.x]
    middle, low, high = (tuple(one[i] for one in found) for i in range(3))
    return replace(line, y=middle, low=low, high=high)


def _mean(values: Array) -> tuple[float, float, float]:
    """Return the geometric mean of the base seeds that have a spread, and its interval."""
    logs = np.log(values[np.isfinite(values) & (values > 0)])
    if not len(logs):
        return nan, nan, nan
    found = bootstrap(lambda w: np.exp(w @ logs / w.sum(axis=-1)), len(logs), scale="log")
    return found.value, found.low, found.high


def _at(frame: pd.DataFrame, line: Line) -> Array:
    """Return the values of one row a step at the steps that a line has kept."""
    steps, values = (frame[c].to_numpy(dtype="float64") for c in ("step", "value"))
    known = dict(zip(steps.tolist(), values.tolist(), strict=True))
    return np.array([known.get(x, nan) for x in line.x], dtype=np.float64)
