"""Correlation of what was measured in training with how well the result generalises.

Across the conditions of a study, with Fisher's interval and a p value by permutation. It says what
goes with what in this grid; the learning rate, say, may move both.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import permutations
from math import nan
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit
from scipy.stats import rankdata

from wingbeat.errors import (
    CONSTANT,
    TOO_FEW_CONDITIONS,
    TOO_FEW_REPLICAS,
    RequestError,
    nearest,
)
from wingbeat.stats import Estimate, holm
from wingbeat.typing import Array

Method = Literal["spearman", "pearson"]
FEWEST: Final = 3
"""Conditions with both quantities below which there is no correlation."""
FEWEST_INTERVAL: Final = 5
"""Conditions (or groups) below which there is no interval."""
_ALL_ORDERS: Final = 7
"""Pairs up to which every order is taken: 5,040 orders."""


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
        draws: permutations, where there are too many to take all.
        level: nominal coverage, in (0, 1).
        seed: of the permutations.

    Returns:
        A row for each pair: measured, outcome, method, value in [−1, 1] (0 = unrelated), low,
        high, p (by permutation), p_holm (corrected for the number of pairs in this table),
        n conditions, left_out, reason.

    Raises:
        RequestError: a column is not there or holds no numbers, or an argument is out of range.

    Source:
        Fisher, Metron 1 (1921), for Pearson's; Bonett and Wright, Psychometrika 65 (2000), for
        Spearman's; Phipson and Smyth, Statistical Applications in Genetics and Molecular Biology
        9 (2010), for p; Holm, Scandinavian Journal of Statistics 6 (1979).

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
                level=level,
            )
            chance = permutation_p(
                pair[keep, 0], pair[keep, 1], method=method, groups=groups, draws=draws, seed=seed
            )
            rows.append(
                {
                    "measured": first,
                    "outcome": second,
                    "method": method,
                    "value": found.value,
                    "low": found.low,
                    "high": found.high,
                    "p": chance,
                    "n": int(keep.sum()),
                    "left_out": int((~keep).sum()),
                    "reason": found.reason or found.interval_reason,
                }
            )
    out = pd.DataFrame(rows)
    if len(out):
        out.insert(list(out.columns).index("p") + 1, "p_holm", holm(out["p"].to_numpy()))
    return out


def correlation(
    x: Array,
    y: Array,
    *,
    method: Method = "spearman",
    groups: Sequence[int] | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return one correlation with its interval, Student's on Fisher's z.

    A correlation of exactly ±1 is taken half a rank step back, since n points that lie in order
    do not show that the next one would: of five, Spearman's 1 is [−0.73, 1].

    Args:
        x: finite numbers ``(n,)``.
        y: as many.
        method: "spearman" (ranks, ties share the mean rank) or "pearson".
        groups: what each pair belongs to; the error is that of as many pairs as there are groups.
        level: nominal coverage.

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
    most = 1.0 - 6.0 / (units * (units**2 - 1.0))  # half the step between 1 and the next rank
    centre = float(np.arctanh(np.clip(value, -most, most)))
    error = float(np.sqrt((1.0 + (value**2 / 2.0 if method == "spearman" else 0.0)) / (units - 3)))
    half = float(stdtrit(units - 2, 0.5 + level / 2.0)) * error
    low, high = np.tanh([centre - half, centre + half])
    return Estimate(value, float(min(low, value)), float(max(high, value)))


def groups_to_decide(
    value: float,
    bound: float = 0.0,
    *,
    method: Method = "spearman",
    level: float = 0.95,
    power: float = 0.8,
    most: int = 10_000,
) -> int:
    """Return how many pairs (or groups) decide on which side of a bound a correlation lies.

    As if it stayed what it is: the fewest whose interval of `correlation` leaves the bound out
    with that power, by the noncentral t distribution on Fisher's z.

    Args:
        value: the correlation, in (−1, 1).
        bound: in its units.
        method: "spearman" or "pearson".
        level: of the interval.
        power: chance that it leaves the bound out.
        most: beyond so many ``most + 1`` is returned, as for a correlation on its bound.

    Source:
        Bonett and Wright, Psychometrika 65 (2000).

    Example:
        >>> groups_to_decide(0.3, method="pearson")  # 85 by normal deviates
        87
    """
    from scipy.stats import nct  # late: it takes as long as all else here together

    away = abs(float(np.arctanh(value)) - float(np.arctanh(bound)))
    scatter = float(np.sqrt(1.0 + (value**2 / 2.0 if method == "spearman" else 0.0)))
    low, high = FEWEST_INTERVAL, most + 1
    while low < high:  # power grows with the number
        count = (low + high) // 2
        limit = float(stdtrit(count - 2, 0.5 + level / 2.0))
        decides = float(nct.sf(limit, count - 2, away * (count - 3) ** 0.5 / scatter))
        low, high = (low, count) if decides >= power else (count + 1, high)
    return low


def permutation_p(
    x: Array,
    y: Array,
    *,
    method: Method = "spearman",
    groups: Sequence[int] | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> float:
    """Return the chance of a correlation at least as large in size if there were none.

    All orders of up to seven pairs are taken, else random ones and the one that was found.

    Args:
        x: finite numbers ``(n,)``.
        y: as many.
        method: "spearman" or "pearson".
        groups: what each pair belongs to: whole groups change places. NaN where they differ in
            size, as they then cannot.
        draws: random orders.
        seed: of them.

    Example:
        >>> permutation_p(np.arange(5.0), np.arange(5.0)) == 2 / 120
        True
    """
    n = len(x)
    whole = weighted_correlation(x, y, np.ones((1, n)), method) if n >= FEWEST else np.array([nan])
    blocks = _blocks(n, groups)
    if not np.isfinite(whole[0]) or blocks is None:
        return nan
    ranked = [rankdata(v) if method == "spearman" else v for v in (x, y)]
    first, second = ((v - v.mean()) / np.linalg.norm(v - v.mean()) for v in ranked)
    count = len(blocks)
    every = count <= _ALL_ORDERS
    if every:
        orders = np.array(list(permutations(range(count))))
    else:
        generator = np.random.Generator(np.random.PCG64(seed))
        orders = generator.permuted(np.tile(np.arange(count), (draws, 1)), axis=1)
    moved = second[blocks[orders].reshape(len(orders), n)]
    found = np.abs(moved @ first[blocks.reshape(n)])
    as_large = int((found >= abs(float(whole[0])) - 1e-12).sum())
    return as_large / len(orders) if every else (as_large + 1) / (draws + 1)


def _blocks(n: int, groups: Sequence[int] | None) -> NDArray[np.int64] | None:
    """Return the places of each group, (groups, size); None where their sizes differ."""
    if groups is None:
        return np.arange(n)[:, None]
    labels = np.asarray(groups)
    places = [np.flatnonzero(labels == label) for label in dict.fromkeys(groups)]
    return np.stack(places) if len({len(p) for p in places}) == 1 else None


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
