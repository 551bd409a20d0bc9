"""Means, shares and medians over initialisations with 95 % intervals, and curves of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import binom, binomtest

from wingbeat.errors import DIVERGED, NOT_REACHED, TOO_FEW_POINTS
from wingbeat.stats import Estimate, bootstrap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike

Estimates = dict[str, dict[str, Any]]
"""Estimates by name, JSON-safe; those of a curve are named ``curve/NAME/x``."""


def _of(found: Estimate, n: int) -> dict[str, Any]:
    return {**found.to_json(), "n": n}


def mean_of(values: ArrayLike, reason: str = TOO_FEW_POINTS) -> dict[str, Any]:
    """Return the mean over initialisations with Student's interval, and how many there are.

    Args:
        values: ``(n,)``.
        reason: why it is undefined if there is none.

    >>> found = mean_of([1.0, 2.0, 3.0])
    >>> found["value"], found["n"], mean_of([])["reason"]
    (2.0, 3, 'too_few_points')
    """
    given = np.asarray(values, dtype=np.float64)
    if not given.size:
        return _of(Estimate.undefined(reason), 0)
    if not np.isfinite(given).all():
        return _of(Estimate.undefined(DIVERGED), given.size)
    found = bootstrap(lambda w: w @ given / w.sum(axis=1), given.size)
    return _of(found, given.size)


def share_of(hits: ArrayLike) -> dict[str, Any]:
    """Return a share in [0, 1] with Wilson's interval.

    Args:
        hits: ``(n,)`` booleans.

    Source: Wilson, Journal of the American Statistical Association 22 (1927).

    >>> found = share_of([True] * 9 + [False])
    >>> found["value"], round(found["low"], 3), round(found["high"], 3)
    (0.9, 0.596, 0.982)
    """
    given = np.asarray(hits, dtype=bool)
    n = given.size
    if not n:
        return _of(Estimate.undefined(TOO_FEW_POINTS), 0)
    found = binomtest(int(given.sum()), n).proportion_ci(method="wilson")
    return _of(Estimate(float(given.mean()), float(found.low), float(found.high)), n)


def median_of(values: ArrayLike) -> dict[str, Any]:
    """Return the median with the interval of order statistics (no shape is assumed).

    Args:
        values: ``(n,)``; infinite where something had not happened by the end. A median beyond
            the end is undefined (``not_reached``), a bound beyond it missing.

    >>> found = median_of([1.0, 2.0, 3.0, np.inf, np.inf])
    >>> found["value"], found["high"], median_of([np.inf])["reason"]
    (3.0, None, 'not_reached')
    """
    given = np.sort(np.asarray(values, dtype=np.float64))
    n = int(given.size)
    if not n or np.isnan(given).any():
        reason = DIVERGED if n else TOO_FEW_POINTS
        return _of(Estimate.undefined(reason), n)
    # Not np.median: it averages an infinity into the middle.
    middle = given[(n - 1) // 2] if np.isinf(given[n // 2]) else float(np.median(given))
    if np.isinf(given[(n - 1) // 2]):
        return _of(Estimate.undefined(NOT_REACHED), n)
    # The ranks of the interval are quantiles of the binomial.
    low = max(0, int(binom.ppf(0.025, n, 0.5)) - 1)
    high = n - 1 - low
    return _of(Estimate(float(middle), float(given[low]), float(given[high])), n)


def plain(value: float, n: int = 1, reason: str = TOO_FEW_POINTS) -> dict[str, Any]:
    """Return one number without an interval; undefined if it is not finite.

    >>> plain(2.0)["value"], plain(float("nan"))["reason"]
    (2.0, 'too_few_points')
    """
    defined = np.isfinite(value)
    return _of(Estimate(float(value)) if defined else Estimate.undefined(reason), n)


def curve(name: str, x: ArrayLike, points: Sequence[Mapping[str, Any]]) -> Estimates:
    """Return the points of a curve under names that hold x.

    >>> list(curve("loss", [0, 10], [plain(1.0), plain(0.5)]))
    ['curve/loss/0', 'curve/loss/10']
    """
    pairs = zip(np.asarray(x, dtype=np.float64), points, strict=True)
    return {f"curve/{name}/{place:.10g}": dict(point) for place, point in pairs}
