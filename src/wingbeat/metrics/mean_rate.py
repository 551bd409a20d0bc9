"""The mean rate at which replicas of one base seed grow, with an interval that holds for few.

The logarithm of a replica's growth is skewed downwards: along one direction it is that of
|N(0, 1)|, along many nearly Gaussian. Student's interval of the mean of few then lies too high.
How many degrees of freedom a replica's distance has is read from the Gram matrices, and Johnson's
correction for the skewness that they imply lengthens Student's interval on the side that needs it;
it is never shorter than Student's. Simulated coverage is in docs/intervals.md
(``benchmarks.coverage``).

Source: Johnson, Journal of the American Statistical Association 73 (1978), for Student's t of
skewed values; see `wingbeat.metrics.spread_ratio` for the degrees of freedom.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from wingbeat import special
from wingbeat.arguments import as_float64
from wingbeat.errors import CONSTANT, NO_VARIATION, TOO_FEW_REPLICAS, RequestError
from wingbeat.metrics.degrees_of_freedom import FEWEST, degrees_of_freedom
from wingbeat.metrics.gram import centred
from wingbeat.metrics.skewed import students_limits
from wingbeat.metrics.spread_ratio import checked_gram, checked_numbers
from wingbeat.stats import Estimate
from wingbeat.typing import Array

_WEIGHT: Final = 0.7
"""How much of the skewness that the degrees of freedom imply counts: other directions keep a
replica from coming as near as the logarithm of a χ² does. With none of it five replicas along one
growing direction cover .92, with all of it thirty uneven ones .97."""


def mean_rate(rates: Array, first: Array, last: Array, *, level: float = 0.95) -> Estimate:
    """Return the mean of the replicas' rates of growth with its interval.

    Args:
        rates: (N,), of any unit: the logarithm of last ÷ first distance, by step or in all.
        first: Gram matrix ``(N, N)`` of the replicas where the rates begin.
        last: the same replicas where they end.
        level: nominal coverage, in (0, 1).

    Returns:
        The mean in the unit of the rates; > 0 = the replicas grow. Without an interval below three
        replicas (``too_few_replicas``), and where all rates are the same (``no_variation``).

    Raises:
        RequestError: for shapes that disagree or a level out of range.

    >>> drawn = np.random.default_rng(0).normal(size=(5, 20))
    >>> grown = drawn * np.array([4.4] + [0.05] * 19)
    >>> rates = np.log(np.linalg.norm(grown, axis=1) / np.linalg.norm(drawn, axis=1))
    >>> found = mean_rate(rates, drawn @ drawn.T, grown @ grown.T)
    >>> [round(x, 2) for x in (found.value, found.low, found.high)]
    [-1.2, -2.47, -0.19]
    """
    rates = as_float64(rates, "rates")
    first, last = checked_gram(first), checked_gram(last)
    level, _ = checked_numbers(level, 1.0)
    if rates.ndim != 1 or {len(rates)} != {len(first), len(last)}:
        shapes = f"{rates.shape}, {first.shape} and {last.shape}"
        raise RequestError(f"rates and Gram matrices have shapes {shapes}; give N and twice (N, N)")
    n = len(rates)
    value = float((np.ones((1, n)) @ rates / n)[0])  # to the last bit as over base seeds
    if not math.isfinite(value):
        return Estimate.undefined(CONSTANT)
    if n < FEWEST:
        return Estimate(value, interval_reason=TOO_FEW_REPLICAS)
    error = float(rates.std(ddof=1)) / math.sqrt(n)
    if error <= 1e-14 * abs(value):  # equal but for rounding
        return Estimate(value, interval_reason=NO_VARIATION)
    plain = students_limits(n, level, 0.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        skewness = _WEIGHT * _skewness(centred(first), centred(last))
    moved = students_limits(n, level, skewness)
    return Estimate(
        value,
        value - max(plain[1], moved[1]) * error,
        value - min(plain[0], moved[0]) * error,
    )


def _skewness(before: Array, after: Array) -> float:
    """Return the skewness of the logarithm of one replica's growth."""
    halves = np.array(degrees_of_freedom(before, after)) / (2.0 * (len(after) - 1))
    third = special.polygamma(2, halves) / 8.0
    variance = float(special.polygamma(1, halves).sum()) / 4.0
    return float(third[0] - third[1]) / math.pow(variance, 1.5)
