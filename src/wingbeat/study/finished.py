"""What the finished conditions of a study hold: rows, series along training, means over seeds."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from wingbeat.errors import TOO_FEW_SEEDS
from wingbeat.stats import Estimate, bootstrap
from wingbeat.study.ledger import Ledger
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.study.outcome import StudyResult


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


def over_seeds(values: Array, *, reason: str = "", level: float = 0.95) -> Estimate:
    """Return the mean of one value a base seed with its interval; undefined if one of them is.

    >>> over_seeds(np.array([1.0, 2.0, 3.0])).value
    2.0
    >>> over_seeds(np.array([1.0, np.nan]), reason="diverged").reason
    'diverged'
    """
    values = np.asarray(values, dtype=np.float64)
    if not values.size or not np.isfinite(values).all():
        return Estimate.undefined(reason or TOO_FEW_SEEDS)
    return bootstrap(lambda w: w @ values / w.sum(axis=1), len(values), level=level)


def last_of(rows: pd.DataFrame) -> pd.Series:
    """Return the last value of each condition by key, undefined or not.

    >>> last_of(pd.DataFrame({"key": ["a", "a"], "value": [1.0, np.nan]})).tolist()
    [nan]
    """
    # Not groupby("key").last(): that passes over what is undefined.
    values: pd.Series = rows.groupby("key").tail(1).set_index("key")["value"]
    return values


def mean_of(rows: pd.DataFrame, column: str) -> Estimate:
    """Return the mean of a column over base seeds; undefined where one of them is."""
    values = rows[column].to_numpy(dtype=np.float64) if column in rows else np.array([])
    return over_seeds(values, reason=first_reason(rows, column))


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
    why = row.get(f"{name}_reason", "")
    why = why if isinstance(why, str) else ""  # an empty cell of a CSV file is read as NaN
    there = isfinite(value)
    return Estimate(value, low, high, "" if there else why, why if there else "")
