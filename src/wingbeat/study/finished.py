"""What the finished conditions of a study hold: rows, series along training, means over seeds."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from wingbeat.errors import TOO_FEW_SEEDS
from wingbeat.stats import Estimate, bootstrap
from wingbeat.study.ledger import Ledger
from wingbeat.study.ranges import inside, kept
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wingbeat.study.outcome import StudyResult
    from wingbeat.study.ranges import Range


def done(study: StudyResult) -> pd.DataFrame:
    """Return the finished conditions."""
    rows: pd.DataFrame = study.conditions[study.conditions["status"] == "done"]
    return rows


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


def over_seeds(
    values: Array, *, reason: str = "", level: float = 0.95, within: Range | None = None
) -> Estimate:
    """Return the mean of one value a base seed with its interval; undefined if one of them is.

    Args:
        values: one for each base seed.
        reason: why one is undefined.
        level: nominal coverage.
        within: least and largest value that the quantity can have; see `wingbeat.study.ranges`.

    >>> over_seeds(np.array([1.0, 2.0, 3.0])).value
    2.0
    >>> over_seeds(np.array([1.0, np.nan]), reason="diverged").reason
    'diverged'
    >>> round(over_seeds(np.array([0.7, 0.9, 1.0]), within=(0.0, 1.0)).high, 3)
    0.994
    """
    values = inside(np.asarray(values, dtype=np.float64), within)
    if not values.size or not np.isfinite(values).all():
        return Estimate.undefined(reason or TOO_FEW_SEEDS)
    return kept(bootstrap(lambda w: w @ values / w.sum(axis=1), len(values), level=level), within)


def last_of(rows: pd.DataFrame) -> pd.Series:
    """Return the last value of each condition by key, undefined or not.

    >>> last_of(pd.DataFrame({"key": ["a", "a"], "value": [1.0, np.nan]})).tolist()
    [nan]
    """
    # Not groupby("key").last(): that passes over what is undefined.
    values: pd.Series = rows.groupby("key").tail(1).set_index("key")["value"]
    return values


def mean_of(
    rows: pd.DataFrame, column: str, within: Range | None = None, *, reason: str = ""
) -> Estimate:
    """Return the mean of a column over base seeds; undefined where one of them is."""
    values = rows[column].to_numpy(dtype=np.float64) if column in rows else np.array([])
    return over_seeds(values, reason=reason or first_reason(rows, column), within=within)


def mean_columns(
    rows: pd.DataFrame,
    names: Iterable[str],
    limits: Mapping[str, Range] | None = None,
    *,
    reason: str = "",
) -> dict[str, Any]:
    """Return the means of some columns over base seeds as columns of a table.

    Args:
        rows: one for each base seed.
        names: which columns.
        limits: what the numbers of a column can be, where they have limits.
        reason: why a number is undefined; "" takes what the rows say.

    >>> rows = pd.DataFrame({"a": [1.0, 2.0, 3.0]})
    >>> mean_columns(rows, ["a"])["a"]
    2.0
    """
    found: dict[str, Any] = {}
    for name in names:
        within = None if limits is None else limits.get(name)
        found |= estimate_columns(name, mean_of(rows, name, within, reason=reason))
    return found


def first_reason(rows: pd.DataFrame, column: str) -> str:
    """Return the first reason that a column's values give for being undefined; "" if none."""
    given = rows.get(f"{column}_reason", pd.Series(dtype=object))
    return next((str(reason) for reason in given if reason), "")


def estimate_columns(name: str, found: Estimate) -> dict[str, Any]:
    """Return an estimate as columns of a table: value, ends, and why one of them is missing.

    >>> estimate_columns("a", Estimate(2.0, interval_reason="too_few_seeds"))
    {'a': 2.0, 'a_low': nan, 'a_high': nan, 'a_reason': 'too_few_seeds'}
    """
    why = found.reason or found.interval_reason
    return {
        name: found.value,
        f"{name}_low": found.low,
        f"{name}_high": found.high,
        f"{name}_reason": why,
    }


def estimate_in(row: Any, name: str) -> Estimate:
    """Return the estimate that columns of a table hold; see ``estimate_columns``.

    >>> estimate_in({"a": 2.0, "a_low": 1.0, "a_high": 3.0, "a_reason": ""}, "a").high
    3.0
    """
    value, low, high = (float(row[f"{name}{end}"]) for end in ("", "_low", "_high"))
    return estimate_of(value, low, high, row.get(f"{name}_reason", ""))


def estimate_of(value: float, low: float, high: float, why: object) -> Estimate:
    """Return an estimate of which one reason is known: of the value, or of the interval's absence.

    >>> estimate_of(2.0, float("nan"), float("nan"), "too_few_seeds").interval_reason
    'too_few_seeds'
    >>> estimate_of(float("nan"), float("nan"), float("nan"), "too_few_seeds").reason
    'too_few_seeds'
    """
    text = why if isinstance(why, str) else ""  # an empty cell of a CSV file is read as NaN
    there = isfinite(value)
    return Estimate(value, low, high, "" if there else text, text if there else "")
