"""Periods and recurrences of a series, such as the loss at a large learning rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.errors import CONSTANT, DIVERGED, TOO_FEW_POINTS, RequestError
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Period:
    """The period of the end of a series.

    Attributes:
        period: smallest number of steps after which the series repeats; 1 = constant; 0 = no
            period up to the longest that was tried.
        mismatch: ``(longest,)``, greatest |x_{t+p} − x_t| for p = 1, 2, …, divided by the range
            of the end of the series (by its size, if it is constant); 0 = repeats exactly.
        reason: empty, ``too_few_points`` or ``diverged``; then the period is 0.
    """

    period: int
    mismatch: Array
    reason: str = ""


@dataclass(frozen=True)
class Correlation:
    """Autocorrelation of a series, with what a shuffled series shows.

    Attributes:
        lags: ``(L,)``, 1, 2, ….
        values: ``(L,)``, in [−1, 1].
        low: 2.5 % quantile of the values of shuffled series, over all lags and shuffles.
        high: 97.5 % quantile.
        reason: empty, ``too_few_points``, ``constant`` or ``diverged``.
    """

    lags: NDArray[np.int64]
    values: Array
    low: float
    high: float
    reason: str = ""


def period(
    series: ArrayLike, *, longest: int = 64, tolerance: float = 1e-6, tail: int | None = None
) -> Period:
    """Return the period to which the end of a series has settled.

    Args:
        series: ``(N,)``.
        longest: longest period tried.
        tolerance: greatest mismatch, as a share of the range of the tail. A series whose range
            is below it, relative to its size, counts as constant. Loosen it for noisy series.
        tail: how many of the last values are looked at; default four times the longest period
            or half the series, whichever is less.

    Raises:
        RequestError: for another shape, or a longest period below 1.

    >>> period([5.0, 9.0, 1.0] + [0.0, 1.0, 3.0] * 20, longest=8).period
    3
    """
    values = np.asarray(series, dtype=np.float64)
    if values.ndim != 1 or longest < 1:
        raise RequestError(
            f"the series has shape {values.shape} and the longest period is {longest}; "
            "give one axis and at least 1"
        )
    tail = min(4 * longest, values.size // 2) if tail is None else min(tail, values.size)
    nothing = np.full(longest, np.nan)
    if tail < 2 * longest:
        return Period(0, nothing, TOO_FEW_POINTS)
    end = values[-tail:]
    if not np.isfinite(end).all():
        return Period(0, nothing, DIVERGED)
    spread, size = float(np.ptp(end)), float(np.abs(end).max())
    if spread <= tolerance * size:
        return Period(1, np.full(longest, spread / size if size else 0.0))
    lags = range(1, longest + 1)
    mismatch = np.array([np.abs(end[p:] - end[:-p]).max() for p in lags]) / spread
    repeats = np.flatnonzero(mismatch <= tolerance)
    return Period(int(repeats[0]) + 1 if repeats.size else 0, mismatch)


def autocorrelation(
    series: ArrayLike, *, longest: int = 20, shuffles: int = 100, seed: int = 0
) -> Correlation:
    """Return the autocorrelation of a series beside that of its shuffles.

    A value outside [low, high] is more than an order of independent values shows. An
    alternating series has −1 at lag 1; one of period 3 has its largest value at lag 3.

    Args:
        series: ``(N,)``, N > 2 · longest.
        longest: longest lag.
        shuffles: number of random orders for the quantiles.
        seed: of the shuffles.

    Raises:
        RequestError: for another shape, or numbers below 1.

    >>> found = autocorrelation([0.0, 1.0] * 50, longest=2)
    >>> [round(float(x), 2) for x in found.values]
    [-0.99, 0.98]
    """
    values = np.asarray(series, dtype=np.float64)
    if values.ndim != 1 or longest < 1 or shuffles < 1:
        raise RequestError(
            f"the series has shape {values.shape}, longest is {longest}, shuffles {shuffles}; "
            "give one axis and at least 1 of each"
        )
    lags = np.arange(1, longest + 1)
    reason = _reason(values, longest)
    if reason:
        return Correlation(lags, np.full(longest, np.nan), np.nan, np.nan, reason)
    generator = np.random.Generator(np.random.PCG64(seed))
    null = [_correlate(generator.permutation(values), lags) for _ in range(shuffles)]
    low, high = np.quantile(null, [0.025, 0.975])
    return Correlation(lags, _correlate(values, lags), float(low), float(high))


def _reason(values: Array, longest: int) -> str:
    if values.size <= 2 * longest:
        return TOO_FEW_POINTS
    if not np.isfinite(values).all():
        return DIVERGED
    return CONSTANT if np.ptp(values) == 0.0 else ""


def _correlate(values: Array, lags: NDArray[np.int64]) -> Array:
    away = values - values.mean()
    found: Array = np.array([away[p:] @ away[:-p] for p in lags]) / (away @ away)
    return found
