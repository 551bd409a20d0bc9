"""Correlation of what was measured in training with how well the result generalises.

Across the conditions of a study, with bootstrap intervals. It says what goes with what in this
grid; the learning rate, say, may move both.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wingbeat.errors import (
    CONSTANT,
    TOO_FEW_CONDITIONS,
    TOO_FEW_REPLICAS,
    RequestError,
    nearest,
)
from wingbeat.stats import Estimate, resample

Method = Literal["spearman", "pearson"]
Array = NDArray[np.float64]
FEWEST: Final = 3
"""Conditions with both quantities below which there is no correlation."""
FEWEST_INTERVAL: Final = 5
"""Conditions (or groups) below which there is no interval."""
_USABLE: Final = 0.5
"""Share of the resamples that must have a correlation."""


def correlate(
    table: pd.DataFrame,
    measured: Sequence[str],
    outcomes: Sequence[str],
    *,
    method: Method = "spearman",
    group: str | None = None,
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the correlation of each measured column with each outcome, across conditions.

    Args:
        table: one row a condition, as ``StudyResult.conditions``. Rows in which either quantity
            is not finite are left out, and counted.
        measured: columns such as "lyapunov", "sharpness", "convergence_ratio".
        outcomes: columns such as "accuracy", "eval_loss".
        method: "spearman" (ranks) or "pearson".
        group: column of what was repeated, for instance the learning rate when seeds are rows:
            whole groups are then drawn, since rows of one group are not independent.
        draws: resamples.
        level: nominal coverage, in (0, 1).
        seed: of the resampling.

    Returns:
        A row for each pair: measured, outcome, method, value in [−1, 1] (0 = unrelated), low,
        high (percentiles of the bootstrap), n conditions, left_out, reason.

    Raises:
        RequestError: a column is not there or holds no numbers, or an argument is out of range.

    Source:
        Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapters 6 and 13.

    Example:
        >>> table = pd.DataFrame({"sharpness": [1.0, 2.0, 3.0, 4.0], "accuracy": [4, 3, 2, 1]})
        >>> correlate(table, ["sharpness"], ["accuracy"])["value"].tolist()
        [-1.0]
    """
    _check(table, [*measured, *outcomes], method, level, group)
    rows = []
    for first in measured:
        for second in outcomes:
            pair = table[[first, second]].to_numpy(dtype=np.float64)
            keep = np.isfinite(pair).all(axis=1)
            groups = None if group is None else _codes(table.loc[keep, group].tolist())
            found = correlation(
                pair[keep, 0],
                pair[keep, 1],
                method=method,
                groups=groups,
                draws=draws,
                level=level,
                seed=seed,
            )
            rows.append(
                {
                    "measured": first,
                    "outcome": second,
                    "method": method,
                    "value": found.value,
                    "low": found.low,
                    "high": found.high,
                    "n": int(keep.sum()),
                    "left_out": int((~keep).sum()),
                    "reason": found.reason or found.interval_reason,
                }
            )
    return pd.DataFrame(rows)


def correlation(
    x: Array,
    y: Array,
    *,
    method: Method = "spearman",
    groups: Sequence[int] | None = None,
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Return one correlation with its percentile bootstrap interval.

    Args:
        x: finite numbers ``(n,)``.
        y: as many.
        method: "spearman" (ranks, ties share the mean rank) or "pearson".
        groups: what each pair belongs to; whole groups are drawn.
        draws: resamples.
        level: nominal coverage.
        seed: of the resampling.

    Returns:
        ``constant`` where one quantity does not vary, ``too_few_conditions`` below three pairs;
        no interval below five pairs (or groups).

    Example:
        >>> correlation(np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, 9.0])).value
        1.0
    """
    n = len(x)
    if n < FEWEST:
        return Estimate.undefined(TOO_FEW_CONDITIONS)
    value = float(weighted_correlation(x, y, np.ones((1, n)), method)[0])
    if not np.isfinite(value):
        return Estimate.undefined(CONSTANT)
    units = n if groups is None else len(set(groups))
    if units < FEWEST_INTERVAL:
        return Estimate(value, interval_reason=TOO_FEW_REPLICAS)
    weights = resample(units, draws=draws, seed=seed)
    if groups is not None:
        weights = weights[:, np.asarray(groups)]
    drawn = weighted_correlation(x, y, weights, method)
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) < _USABLE * draws:
        return Estimate(value, interval_reason=CONSTANT)
    low, high = np.quantile(drawn, ((1 - level) / 2, (1 + level) / 2))
    return Estimate(value, float(low), float(high))


def weighted_correlation(x: Array, y: Array, weights: Array, method: Method = "spearman") -> Array:
    """Return the correlation of resamples, given how often each pair is in each.

    Args:
        x: finite numbers ``(n,)``.
        y: as many.
        weights: counts ``(draws, n)``.
        method: "spearman" (ranks within each resample) or "pearson".

    Returns:
        ``(draws,)`` in [−1, 1]; NaN where a quantity does not vary.

    Example:
        >>> weighted_correlation(np.arange(3.0), np.array([1.0, 0.0, 5.0]), np.ones((1, 3)))
        array([0.5])
    """
    if method == "spearman":
        return _pearson(_ranks(x, weights), _ranks(y, weights), weights)
    return _pearson(x, y, weights)


def _pearson(x: Array, y: Array, weights: Array) -> Array:
    """Return the correlation under each row of counts ``(draws, n)``; NaN without variance."""
    # Ranks differ between draws, plain values do not: both have shape (draws or 1, n).
    x, y = np.atleast_2d(x), np.atleast_2d(y)
    total = weights.sum(axis=1, keepdims=True)
    dx = x - (weights * x).sum(axis=1, keepdims=True) / total
    dy = y - (weights * y).sum(axis=1, keepdims=True) / total
    inner = (weights * dx * dy).sum(axis=1)
    xx, yy = (weights * dx * dx).sum(axis=1), (weights * dy * dy).sum(axis=1)
    tiny = 1e-24 * np.array([(x * x).max(), (y * y).max()]) * total.max()
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Array = np.clip(inner / np.sqrt(xx * yy), -1, 1)
    found[(xx <= tiny[0]) | (yy <= tiny[1])] = np.nan
    return found


def _ranks(x: Array, weights: Array) -> Array:
    """Return the mean rank of each value in each resample, ``(draws, n)``."""
    _, place = np.unique(x, return_inverse=True)
    counts = np.zeros((len(weights), int(place.max()) + 1))
    for column, level in enumerate(place):
        counts[:, level] += weights[:, column]
    before = np.cumsum(counts, axis=1) - counts
    ranks: Array = (before + (counts + 1) / 2)[:, place]
    return ranks


def _codes(values: Sequence[Hashable]) -> list[int]:
    known: dict[Any, int] = {}
    return [known.setdefault(value, len(known)) for value in values]


def _check(
    table: pd.DataFrame, columns: Sequence[str], method: str, level: float, group: str | None
) -> None:
    for name in (*columns, *((group,) if group is not None else ())):
        if name not in table:
            raise RequestError(f"no column {name!r}: {nearest(name, map(str, table.columns))}")
    for name in columns:
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise RequestError(f"column {name!r} holds no numbers")
    if method not in ("spearman", "pearson"):
        raise RequestError(f"method is {method!r}: {nearest(method, ('spearman', 'pearson'))}")
    if not 0 < level < 1:
        raise RequestError(f"level is {level!r}: give a share between 0 and 1, such as 0.95")
