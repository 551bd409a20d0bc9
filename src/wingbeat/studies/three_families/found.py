"""Tables of the study of families: runs, means of families, and one row a base seed."""

from __future__ import annotations

from itertools import combinations
from math import nan
from typing import Any, Final

import numpy as np
import pandas as pd

from wingbeat.errors import NOT_REACHED
from wingbeat.studies.three_families.plan import FamiliesPlan
from wingbeat.study.analysis import Analysis, Tables
from wingbeat.study.finished import done, mean_columns
from wingbeat.study.ranges import AT_LEAST_0, SHARE, Range

CELL: Final = ("size", "lr")
ORDER: Final = ("dense", "cnn", "transformer")
VALUES: Final = ("log_growth", "log_growth_matched", "disagreement_matched", "relative_matched")
MEANS: Final = (
    "accuracy_end", "log_growth", "disagreement_end", "step_matched", "log_growth_matched",
    "relative_matched", "disagreement_matched",
)  # fmt: skip
LIMITS: Final[dict[str, Range]] = {
    **dict.fromkeys(("accuracy_end", "disagreement_end", "disagreement_matched"), SHARE),
    **dict.fromkeys(("step_matched", "relative_matched"), AT_LEAST_0),
}
"""What the means of a family can be."""
PAIRS: Final = tuple(combinations(ORDER, 2))
SHARES: Final = ("family", "lr", "size", "accuracy")


def tables(found: Analysis) -> Tables:
    """Return every run, means of families, and the numbers of each base seed."""
    return tables_of(runs_of(done(found.study), found.plan))


def tables_of(runs: pd.DataFrame) -> Tables:
    """Return all tables from the runs."""
    return {"runs": runs, "families": families(runs), "seeds": seeds_of(runs)}


def runs_of(rows: pd.DataFrame, plan: FamiliesPlan) -> pd.DataFrame:
    """Return one row a run, with what holds at the accuracy that families are compared at."""
    at = f"{plan.accuracy:g}"
    names = ("family", "size", "lr", "seed", "weights", "accuracy_end", "disagreement_end")
    found = rows[list(names)].assign(
        log_growth=np.log(rows["growth_end"]),
        step_matched=rows[f"step_{at}"],
        log_growth_matched=np.log(rows[f"growth_{at}"]),
        relative_matched=rows[f"relative_{at}"],
        disagreement_matched=rows[f"disagreement_{at}"],
    )
    return found.sort_values(["size", "family", "lr", "seed"], ignore_index=True)


def families(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row a size, family and rate: means over base seeds with intervals."""
    found = []
    for (size, family, lr), own in runs.groupby(["size", "family", "lr"], sort=True):
        row: dict[str, Any] = {"size": size, "family": family, "lr": lr, "runs": len(own)}
        row |= {"weights": float(own["weights"].mean())}
        row |= {"reached": int(np.isfinite(own["step_matched"]).sum())}
        found.append(row | mean_columns(own, MEANS, LIMITS, reason=NOT_REACHED))
    return pd.DataFrame(found)


def seeds_of(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row a base seed: differences of families, and shares of variance."""
    return pd.DataFrame(
        [{"seed": seed, **of_seed(own)} for seed, own in runs.groupby("seed", sort=True)]
    )


def of_seed(own: pd.DataFrame) -> dict[str, float]:
    """Return what one base seed says.

    ``<b>_over_<a>_<value>`` is the mean difference of two families over the sizes and rates at
    which all three have the value; ``share_<what>`` the share of the variance of the logarithm of
    growth at the end that a factor explains alone; ``beyond`` what family adds to rate, size and
    accuracy together, and ``accuracy_beyond`` what accuracy adds to family, rate and size.
    """
    found: dict[str, float] = {}
    for value in VALUES:
        wide = own.pivot_table(index=list(CELL), columns="family", values=value, dropna=False)
        wide = wide.dropna()
        for a, b in PAIRS:
            there = len(wide) and {a, b} <= set(wide.columns)
            found[f"{b}_over_{a}_{value}"] = float((wide[b] - wide[a]).mean()) if there else nan
    y = own["log_growth"].to_numpy(dtype=np.float64)
    parts = {name: coded(own, name) for name in ("family", "lr", "size")}
    parts["accuracy"] = own[["accuracy_end"]].to_numpy(dtype=np.float64)
    found |= {f"share_{name}": explained(y, [parts[name]]) for name in SHARES}
    whole = explained(y, list(parts.values()))
    found["beyond"] = whole - explained(y, [parts[n] for n in ("lr", "size", "accuracy")])
    found["accuracy_beyond"] = whole - explained(y, [parts[n] for n in ("family", "lr", "size")])
    return found


def coded(rows: pd.DataFrame, name: str) -> np.ndarray:
    """Return a factor as columns of 0 and 1, one less than it has levels."""
    return pd.get_dummies(rows[name], drop_first=True).to_numpy(dtype=np.float64)


def explained(y: np.ndarray, parts: list[np.ndarray]) -> float:
    """Return the share of the variance of values that columns explain by least squares.

    NaN if a value is not finite or none varies.

    >>> group = np.array([[0.0], [0.0], [1.0], [1.0]])
    >>> round(explained(np.array([1.0, 1.0, 3.0, 3.0]), [group]), 9)
    1.0
    """
    x = np.column_stack([np.ones(len(y)), *parts])
    if not (np.isfinite(x).all() and np.isfinite(y).all()) or np.ptp(y) == 0:
        return nan
    rest = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return float(1.0 - rest.var() / y.var())
