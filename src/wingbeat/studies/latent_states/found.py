"""Tables of the study of latent states: one row a condition, and its map, states and detours."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from wingbeat.errors import CONSTANT
from wingbeat.stats import Estimate, bootstrap
from wingbeat.studies.latent_states.measure import NUMBERS, SCORES, from_json
from wingbeat.studies.latent_states.plan import TASKS
from wingbeat.study.analysis import Analysis, Tables
from wingbeat.study.finished import done, estimate_columns, estimate_in, over_seeds, series
from wingbeat.study.ledger import Ledger
from wingbeat.study.ranges import AT_LEAST_0, CORRELATION, DIFFERENCE, SHARE, Range, kept

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wingbeat.typing import Array

KEPT: Final = ("selection", "nodes", "edges", "detours", "parting", "occupancy")
"""Tables that each condition stored as JSON."""
OF_GROUPS: Final = (*NUMBERS, "optional_same")
LIMITS: Final[dict[str, Range]] = {
    **dict.fromkeys(("states", "optional", "optional_same"), AT_LEAST_0),
    **dict.fromkeys(("dissimilarity", "r2", "r2_last"), SHARE),
}
"""What these can be."""


def tables(found: Analysis) -> Tables:
    """Return ``conditions.csv``, ``gaps.csv`` with intervals over groups, and what else was kept.

    Whatever a claim is about stands in them.
    """
    rows: list[dict[str, Any]] = []
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in KEPT}
    for row in each(found):
        facts = Ledger(found.study.folder).facts(row["key"])["summary"]
        rows.append(_numbers(found, row, facts))
        for name in KEPT:
            own = from_json(facts[name]["value"])
            own.insert(0, "task", row["task"])
            own.insert(1, "normalised", row["normalised"])
            parts[name].append(own)
    joined = {name: pd.concat(part, ignore_index=True) for name, part in parts.items()}
    return {"conditions": pd.DataFrame(rows), "gaps": gaps(found), **joined}


def each(found: Analysis) -> Iterator[pd.Series]:
    """Yield the rows of the finished conditions, tasks in their order, without LayerNorm first."""
    rows = done(found.study)
    for task in TASKS:
        for _, row in rows[rows["task"] == task].sort_values("normalised").iterrows():
            yield row


def _numbers(found: Analysis, row: pd.Series, facts: dict[str, Any]) -> dict[str, Any]:
    """Return one condition: numbers of all runs, and means over groups with intervals."""
    own = {name: row[name] for name in ("task", "normalised", "processor_seconds")}
    whole = ("runs", "converged", "converged_at", *NUMBERS, "apart_null", "never_apart")
    own |= {name: float(row[name]) for name in whole}
    for name in OF_GROUPS:
        for score in SCORES:
            values = _groups(found, row["key"], f"{name}_{score}")
            found_here = over_seeds(values, reason=CONSTANT, within=LIMITS.get(name))
            own |= estimate_columns(f"{name}_{score}", found_here)
    apart = _groups(found, row["key"], "apart")
    own |= estimate_columns("apart", over_seeds(apart, reason=CONSTANT, within=SHARE))
    own |= estimate_columns("occupancy_r2", explained(from_json(facts["occupancy"]["value"])))
    return own


def _groups(found: Analysis, key: str, name: str) -> Array:
    return np.array(series(found.study, key, name)[1])


def explained(runs: pd.DataFrame) -> Estimate:
    """Return R² of the time to converge on occupancy with its interval over base seeds.

    Args:
        runs: a row a run: ``converged`` (NaN for never) and ``share_0``, ``share_1``, ….

    >>> x = np.arange(8.0)
    >>> rows = pd.DataFrame({"converged": x, "share_0": x / 8, "share_1": 1 - x / 8})
    >>> round(explained(rows).value, 9)
    1.0
    """
    runs = runs[runs["converged"].notna()]
    y = runs["converged"].to_numpy(dtype=float)
    x = runs[[c for c in runs if str(c).startswith("share_")]].to_numpy(dtype=float)
    if len(y) < x.shape[1] + 2 or np.ptp(y) == 0:
        return Estimate.undefined(CONSTANT)
    return by_correlation(bootstrap(lambda w: _r2(x, y, w), len(y)))


def by_correlation(found: Estimate) -> Estimate:
    """Return R² with its interval formed on Fisher's z of R, where it is even near 0 and near 1.

    >>> found = by_correlation(Estimate(0.98, 0.93, 1.03))
    >>> round(found.low, 2), round(found.high, 3)
    (0.78, 0.998)
    >>> by_correlation(Estimate(0.01, -0.09, 0.11)).low
    0.0
    """
    if not 0.0 < found.value < 1.0 or not np.isfinite([found.low, found.high]).all():
        return found
    root = found.value**0.5
    half = (found.high - found.low) / (4.0 * root)
    inside = kept(Estimate(root, root - half, root + half), CORRELATION)
    return replace(found, low=max(inside.low, 0.0) ** 2, high=inside.high**2)


def _r2(x: Array, y: Array, weights: Array) -> Array:
    """Return the share of the variance that a regression explains, by row of weights, (draws,)."""
    share = weights / weights.sum(axis=1, keepdims=True)
    root = np.sqrt(share)
    off = y - (share @ y)[:, None]
    around = x - (share @ x)[:, None, :]
    inverse = np.linalg.pinv(root[..., None] * around, rcond=1e-9)
    fitted = np.einsum("rnk,rk->rn", around, np.einsum("rkn,rn->rk", inverse, root * off))
    with np.errstate(divide="ignore", invalid="ignore"):  # of one run drawn n times
        left = (share * (off - fitted) ** 2).sum(axis=1) / (share * off**2).sum(axis=1)
    return np.asarray(1 - left)


def of(found: Analysis, task: str, normalised: bool, name: str) -> Estimate | None:
    """Return a number of a condition with its interval over groups; None if it was not run."""
    rows = found.tables["conditions"]
    own = rows[(rows["task"] == task) & (rows["normalised"] == normalised)]
    return estimate_in(own.iloc[0], name) if len(own) else None


def gap(found: Analysis, name: str, task: str = "") -> Estimate | None:
    """Return a difference of `gaps`; None if it was not run."""
    rows = found.tables["gaps"]
    own = rows[(rows["name"] == name) & (rows["task"].fillna("") == task)]
    return estimate_in(own.iloc[0], "gap") if len(own) else None


def gaps(found: Analysis) -> pd.DataFrame:
    """Return differences over groups of base seeds.

    ``dissimilarity``: how much larger it is without LayerNorm, for each task. ``optional_same`` and
    ``optional``: how many more optional states scores of each run give than pooled ones, at one
    number of states and at the number that each score chooses, mean over conditions.
    """
    rows: list[dict[str, Any]] = []
    for name in ("optional_same", "optional"):
        each_own = [_groups(found, row["key"], f"{name}_each") for row in each(found)]
        pooled = [_groups(found, row["key"], f"{name}_pooled") for row in each(found)]
        more = np.mean(each_own, axis=0) - np.mean(pooled, axis=0)
        one = over_seeds(more, reason=CONSTANT)
        rows.append({"name": name, "task": "", **estimate_columns("gap", one)})
    for task in found.plan.tasks:
        keys = {row["normalised"]: row["key"] for row in each(found) if row["task"] == task}
        if set(keys) == {False, True}:
            plain, norm = (_groups(found, keys[n], "dissimilarity_pooled") for n in (False, True))
            one = over_seeds(plain - norm, reason=CONSTANT, within=DIFFERENCE)
            rows.append({"name": "dissimilarity", "task": task, **estimate_columns("gap", one)})
    return pd.DataFrame(rows)


def records(rows: pd.DataFrame) -> list[Any]:
    """Return the rows of a table as tuples with names, of no type that a checker would know."""
    return list(rows.itertuples(index=False))


def of_task(found: Analysis, table: str, task: str, normalised: bool) -> pd.DataFrame:
    """Return the rows of one condition in one of the tables."""
    rows = found.tables[table]
    return rows[(rows["task"] == task) & (rows["normalised"] == normalised)]
