"""A spread of replicas with its interval, which holds for few of them.

Below eight replicas the squared spread is taken for a χ², whose degrees of freedom are read from
the Gram matrix; from eight on it is a ratio to what is known exactly (`spread_ratio`). Simulated
coverage is in docs/intervals.md.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from wingbeat import special
from wingbeat.metrics.degrees_of_freedom import FEWEST
from wingbeat.metrics.skewed import inverse_trigamma
from wingbeat.metrics.spread_ratio import (
    LogRatio,
    checked_gram,
    checked_numbers,
    log_ratio,
    ratio_of_logs,
    steadied,
)
from wingbeat.stats import Estimate
from wingbeat.typing import Array

_LEAST_FREEDOM: Final = 1.5
"""Degrees of freedom that a spread of three to seven replicas has at least: Gaussians have two or
more; with fewer than 1.5 one outlier would make the interval of a variance 10,000 times as long as
it is, for .01 to .03 more coverage."""
_FEW: Final = 8
"""Replicas from which on their own skewness lengthens the interval; below, the χ² does."""


def spread_interval(g: Array, *, level: float = 0.95, power: float = 1.0) -> Estimate:
    """Return the spread of N replicas (ddof 1) with its interval, or a power of it.

    Below eight replicas the squared spread is taken for a χ² whose freedom is that of the Gram
    matrix, or less where the jackknife varies more or may err: what else so few show of the shape
    is chance, and an interval on the logarithm would be a hundred times as long.

    Args:
        g: Gram matrix ``(N, N)`` of the replicas.
        level: nominal coverage.
        power: 2 gives the variance, summed over all weights.

    >>> values = np.array([1.0, 2.0, 4.0, 5.0])
    >>> found = spread_interval(np.outer(values, values), power=2.0)
    >>> [round(x, 2) for x in (found.value, found.low, found.high)]
    [3.33, 1.07, 46.34]
    """
    (level, power), g = checked_numbers(level, power), checked_gram(g)
    n = g.shape[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        found = log_ratio(None, g)
    plain = ratio_of_logs([found], n, level=level, power=power)
    if not FEWEST <= n < _FEW or not math.isfinite(found.value):
        return plain
    freedom = _freedom_of_few(found, n, level)
    tails = 0.5 + level / 2.0 * np.array([1.0, -1.0])
    with np.errstate(over="ignore"):
        low, high = plain.value * (freedom / special.chdtri(freedom, 1.0 - tails)) ** (power / 2.0)
    return Estimate(plain.value, float(low), float(high))


def _freedom_of_few(found: LogRatio, replicas: int, level: float) -> float:
    """Return the degrees of freedom with which the squared spread of 3 to 7 replicas is a χ².

    Few replicas do not show along how many directions they lie, so their error is stretched to
    Student's: to no fewer degrees of freedom than the N - 1 that Gaussians have along one
    direction. What the jackknife itself finds may go below.
    """
    if not math.isfinite(found.error):  # all but one replica are equal
        return _LEAST_FREEDOM
    varies = max(found.variance, steadied(found, replicas, 1.0))
    # With N (N - 2) of Student's, .944 to .970 with 3 to 7 along 1 to 200 directions; without .87.
    tail = 0.5 + level / 2.0
    stretched = (
        varies * float(special.stdtrit(replicas * (replicas - 2), tail) / special.ndtri(tail)) ** 2
    )
    shown, careful = (2.0 * inverse_trigamma(4.0 * v) for v in (varies, stretched))
    return max(_LEAST_FREEDOM, min(shown, max(replicas - 1.0, careful)))
