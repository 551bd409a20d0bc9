"""What the finished conditions of a study hold: rows, series along training, means over seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

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


def over_seeds(values: Array, *, reason: str = "") -> Estimate:
    """Return the mean of one value a base seed with its interval; undefined if one of them is.

    >>> over_seeds(np.array([1.0, 2.0, 3.0])).value
    2.0
    >>> over_seeds(np.array([1.0, np.nan]), reason="diverged").reason
    'diverged'
    """
    values = np.asarray(values, dtype=np.float64)
    if not values.size or not np.isfinite(values).all():
        return Estimate.undefined(reason or TOO_FEW_SEEDS)
    return bootstrap(lambda w: w @ values / w.sum(axis=1), len(values))


def mean_of(rows: pd.DataFrame, column: str) -> Estimate:
    """Return the mean of a column over base seeds; undefined where one of them is."""
    reasons = [r for r in rows.get(f"{column}_reason", pd.Series(dtype=str)) if r]
    values = rows[column].to_numpy(dtype=np.float64) if column in rows else np.array([])
    return over_seeds(values, reason=reasons[0] if reasons else "")
