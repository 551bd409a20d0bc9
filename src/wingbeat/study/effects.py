"""What the axes of a study do to a result: marginal effects, a leaderboard, the best.

All are pure functions of a table with one row for each condition. Intervals are bootstrap
intervals over conditions, nested in base seeds where there are several (``wingbeat.stats``),
because conditions that share a base seed share its data order and start.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan, nan
from typing import Any

import numpy as np
import pandas as pd

from wingbeat.errors import NOT_MATCHED, TOO_FEW_CONDITIONS, RequestError, nearest
from wingbeat.stats import Estimate, bootstrap

SEED = "seed"
"""The axis of base seeds: what is averaged over, not compared."""


def marginal_effects(table: pd.DataFrame, axes: Sequence[str], value: str) -> pd.DataFrame:
    """Return the mean of a result at each level of each axis, and its change from the first level.

    The mean is over all conditions of the level. The effect is the mean difference between
    conditions that differ in this axis alone, so that an unbalanced grid does not mix the axes
    (matched pairs; Box, Hunter and Hunter, Statistics for Experimenters, chapter 3).

    Args:
        table: one row for each condition.
        axes: columns to vary; the first level of each, in the order of the table, is its baseline.
        value: column of numbers, NaN where undefined.

    Returns:
        One row for each axis and level: axis, level, n (defined values), undefined, mean, low,
        high, reason, pairs, effect (0 = no change), effect_low, effect_high, effect_reason.

    Raises:
        RequestError: a column is missing.

    Example:
        >>> grid = {"lr": [1, 1, 2, 2], "width": [8, 9, 8, 9], "loss": [1.0, 2.0, 4.0, 5.0]}
        >>> found = marginal_effects(pd.DataFrame(grid), ["lr", "width"], "loss")[:2]
        >>> found[["level", "mean", "effect"]].values.tolist()
        [[1.0, 1.5, 0.0], [2.0, 4.5, 3.0]]
    """
    _check(table, [*axes, value])
    rows = []
    for axis in axes:
        others = [a for a in axes if a != axis]
        levels = list(dict.fromkeys(table[axis]))
        first = table[_is(table[axis], levels[0])]
        for level in levels:
            own = table[_is(table[axis], level)]
            row = {"axis": axis, "level": level, **_mean(own, value, axis)}
            if level is levels[0]:
                change, pairs = Estimate(0.0, 0.0, 0.0), 0
            else:
                change, pairs = _change(own, first, others, value)
            rows.append({**row, "pairs": pairs, **_named("effect", change)})
    return pd.DataFrame(rows)


def leaderboard(
    table: pd.DataFrame, axes: Sequence[str], value: str, *, lowest: bool = True
) -> pd.DataFrame:
    """Return the cells of a grid, best first, each averaged over its base seeds.

    Args:
        table: one row for each condition.
        axes: columns that tell cells apart; ``seed`` among them is averaged over.
        value: column of numbers, NaN where undefined.
        lowest: whether small values are good.

    Returns:
        rank, the axes, n, undefined, mean, low, high, reason. Cells without a defined value
        come last and have no rank.

    Raises:
        RequestError: a column is missing.

    Example:
        >>> table = pd.DataFrame({"lr": [1, 1, 2], "seed": [0, 1, 0], "loss": [3.0, 5.0, 2.0]})
        >>> leaderboard(table, ["lr", "seed"], "loss")[["lr", "mean"]].values.tolist()
        [[2.0, 2.0], [1.0, 4.0]]
    """
    _check(table, [*axes, value])
    names = [a for a in axes if a != SEED]
    groups = table.groupby(names, sort=False, dropna=False) if names else [((), table)]
    rows = []
    for levels, own in groups:
        found = dict(zip(names, levels if isinstance(levels, tuple) else (levels,), strict=True))
        rows.append({**found, **_mean(own, value, "")})
    out = pd.DataFrame(rows).sort_values(
        "mean", ascending=lowest, kind="stable", na_position="last"
    )
    ranks = [i if not isnan(mean) else None for i, mean in enumerate(out["mean"], 1)]
    out.insert(0, "rank", pd.Series(ranks, out.index, dtype="Int64"))
    return out.reset_index(drop=True)


def best_of(table: pd.DataFrame, value: str, *, lowest: bool = True) -> pd.Series[Any]:
    """Return the row with the best defined value; the first of equals.

    Raises:
        RequestError: the column is missing, or no value of it is defined.

    Example:
        >>> table = pd.DataFrame({"lr": [1, 2, 3], "loss": [0.3, float("nan"), 0.2]})
        >>> int(best_of(table, "loss")["lr"])
        3
    """
    _check(table, [value])
    defined = table[table[value].notna()]
    if defined.empty:
        raise RequestError(f"{value!r} is undefined in all {len(table)} conditions")
    place = defined[value].argmin() if lowest else defined[value].argmax()
    return defined.iloc[int(place)]


def _change(
    own: pd.DataFrame, first: pd.DataFrame, others: Sequence[str], value: str
) -> tuple[Estimate, int]:
    """Return the mean difference over conditions that agree in all other axes."""
    there = dict(zip(_cells(first, others), first[value].astype(float), strict=True))
    pairs = [
        (number - there[cell], seed)
        for cell, number, seed in zip(
            _cells(own, others), own[value].astype(float), _seeds(own), strict=True
        )
        if cell in there and not isnan(number - there[cell])
    ]
    if not pairs:
        return Estimate.undefined(NOT_MATCHED), 0
    numbers = np.array([difference for difference, _ in pairs])
    return _average(numbers, [seed for _, seed in pairs]), len(pairs)


def _mean(own: pd.DataFrame, value: str, axis: str) -> dict[str, Any]:
    numbers = own[value].astype(float).to_numpy()
    defined = ~np.isnan(numbers)
    seeds = [s for s, there in zip(_seeds(own), defined, strict=True) if there]
    if not seeds:
        found = Estimate.undefined(_reason(own, value))
    else:
        found = _average(numbers[defined], [] if axis == SEED else seeds)
    counts = {"n": len(seeds), "undefined": int((~defined).sum()), "mean": found.value}
    return {**counts, "low": found.low, "high": found.high, "reason": found.reason}


def _reason(own: pd.DataFrame, value: str) -> str:
    """Return the commonest reason why a value is undefined in all of some conditions."""
    if f"{value}_reason" not in own:
        return TOO_FEW_CONDITIONS
    return str(own[f"{value}_reason"].mode().iloc[0])


def _average(numbers: np.ndarray[Any, Any], seeds: Sequence[Any]) -> Estimate:
    order = {seed: i for i, seed in enumerate(dict.fromkeys(seeds))}
    groups = [order[seed] for seed in seeds] if len(order) > 1 else None
    return bootstrap(lambda w: w @ numbers / w.sum(-1), len(numbers), groups=groups)


def _seeds(table: pd.DataFrame) -> list[Any]:
    return list(table[SEED]) if SEED in table else [0] * len(table)


def _cells(table: pd.DataFrame, axes: Sequence[str]) -> list[tuple[Any, ...]]:
    columns = [[None if _missing(v) else v for v in table[a]] for a in axes]
    return list(zip(*columns, strict=True)) if columns else [()] * len(table)


def _is(column: pd.Series[Any], level: Any) -> pd.Series[bool]:
    return column.isna() if _missing(level) else column == level


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and isnan(value))


def _named(name: str, found: Estimate) -> dict[str, Any]:
    low, high = found.low, found.high
    value = found.value if not isnan(found.value) else nan
    return {name: value, f"{name}_low": low, f"{name}_high": high, f"{name}_reason": found.reason}


def _check(table: pd.DataFrame, columns: Sequence[str]) -> None:
    for name in columns:
        if name not in table:
            raise RequestError(f"there is no column {name!r}: {nearest(name, map(str, table))}")
    if table.empty:
        raise RequestError("the table has no rows: run the study first")
