"""A ratio of two spreads of the same replicas, with an interval that holds for few and skewed ones.

The logarithm of a spread is skewed and its mean lies too low: along one growing direction the
squared spread of N Gaussian replicas is a χ² of N − 1 degrees of freedom, along many it is nearly
certain. How many degrees of freedom it has is read from the Gram matrices; the mean that they
imply is taken off the logarithm of the ratio, and the skewness that they imply moves both ends.
The error is the jackknife's over replicas, steadied by what the degrees of freedom say, or that
among base seeds where there are several, with Student's t. From eight replicas on the upper end
also allows for their own skewness: where they grow by unlike factors, a sample often misses the
few that carry the spread. Simulated coverage is in docs/intervals.md (``benchmarks.coverage``).

Sources: Box, Annals of Mathematical Statistics 25 (1954), theorem 3.1, and Satterthwaite,
Biometrics Bulletin 2 (1946), for the degrees of freedom of a sum of χ²; Himeno and Yamada,
Journal of Multivariate Analysis 130 (2014), for the unbiased traces; Miller, Biometrika 61 (1974),
for the jackknife on the logarithm of a variance; Smyth, Statistical Applications in Genetics and
Molecular Biology 3 (2004), for an error that is steadied by another; Cornish and Fisher, Revue de
l'Institut International de Statistique 5 (1938), for quantiles of a skewed value; Johnson, Journal
of the American Statistical Association 73 (1978), for Student's t of several skewed values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from math import nan
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import chdtri, ndtri, polygamma, psi, stdtrit

from wingbeat.arguments import as_float64, real_number, shown
from wingbeat.errors import CONSTANT, TOO_FEW_REPLICAS, RequestError
from wingbeat.metrics.degrees_of_freedom import FEWEST, MANY, degrees_of_freedom
from wingbeat.stats import Estimate
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Sequence


_STEADY: Final = 1.0
"""Degrees of freedom with which the variance that the Gram matrices imply counts beside the
jackknife's N - 1. With three to five replicas the jackknife's is too small by chance often enough
to matter, and too large as often; with more it is left to itself."""
_LEAST_FREEDOM: Final = 1.5
"""Degrees of freedom that a spread of three to seven replicas has at least: Gaussians have two or
more; with fewer than 1.5 one outlier would make the interval of a variance 10,000 times as long as
it is, for .01 to .03 more coverage."""
_WEIGHT_OF_BIAS: Final = 0.4
"""How much of what the jackknife finds lost beyond the bias itself counts, beside what it would
find in Gaussian replicas. All of it covers .98 to .99 with three replicas that grow along one
direction, none .92 with ten base seeds of three uneven ones."""
_ENOUGH_FOR_SKEW: Final = 8
"""Replicas from which on their own skewness is asked too: that of fewer is mostly chance, and their
interval covers .97 to .99 without it."""


@dataclass(frozen=True)
class LogRatio:
    """The logarithm of one base seed's ratio of spreads.

    Attributes:
        value: ln(last spread ÷ first spread).
        bias: how far it lies above its limit for many replicas, on average (mostly negative).
        variance: what the degrees of freedom say of its sampling variance.
        skew: its third cumulant.
        error: the jackknife's standard error over replicas; NaN below 3.
        uneven: skewness of the jackknife's pseudo-values: far above 0 where a few replicas carry
            the spread; NaN below 3.
        lost: the jackknife's bias, which knows of such replicas and which the degrees of freedom
            do not know of; NaN below 3.
        expected: what the jackknife's bias would be of Gaussian replicas; NaN below 3.
    """

    value: float
    bias: float
    variance: float
    skew: float
    error: float
    uneven: float = nan
    lost: float = nan
    expected: float = nan


def spread_ratio(
    pairs: Sequence[tuple[Array, Array]], *, level: float = 0.95, power: float = 1.0
) -> Estimate:
    """Return the ratio of the last to the first spread, over all base seeds, with its interval.

    With one base seed the value is the plain ratio. With several it is the geometric mean of
    their ratios, each freed of the bias of few replicas, which the mean would keep however many
    seeds there are.

    Args:
        pairs: for each base seed the Gram matrices ``(N, N)`` of its replicas, first and last.
        level: nominal coverage, in (0, 1).
        power: what the ratio is raised to; 2 gives a ratio of variances.

    Returns:
        A value > 0; < 1 = the replicas come closer. Without an interval below three replicas of
        one base seed (``too_few_replicas``), and where a ratio is 0 or infinite (``constant``).

    >>> drawn = np.random.default_rng(0).normal(size=(8, 40))
    >>> grown = drawn * np.linspace(0.5, 3.0, 40)
    >>> found = spread_ratio([(drawn @ drawn.T, grown @ grown.T)])
    >>> [round(x, 2) for x in (found.value, found.low, found.high)]
    [1.94, 1.79, 2.12]
    """
    pairs, (level, power) = _pairs(pairs), _checked(level, power)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = [log_ratio(first, last) for first, last in pairs]
    return ratio_of_logs(logs, pairs[0][0].shape[-1], level=level, power=power)


def ratio_of_logs(
    logs: Sequence[LogRatio], replicas: int, *, level: float = 0.95, power: float = 1.0
) -> Estimate:
    """Return what `spread_ratio` does, of logarithms that are known already.

    Args:
        logs: of `log_ratio`, one a base seed.
        replicas: of each base seed.
        level: nominal coverage, in (0, 1).
        power: what the ratio is raised to.
    """
    if len(logs) == 1:
        return _of_one(logs[0], replicas, level, power)
    return _of_several(logs, level, power)


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
    (level, power), g = _checked(level, power), _gram(g)
    n = g.shape[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        found = log_ratio(None, g)
    plain = _of_one(found, n, level, power)
    if not FEWEST <= n < _ENOUGH_FOR_SKEW or not math.isfinite(found.value):
        return plain
    freedom = _freedom_of_few(found, n, level)
    tails = 0.5 + level / 2.0 * np.array([1.0, -1.0])
    with np.errstate(over="ignore"):
        low, high = plain.value * (freedom / chdtri(freedom, 1.0 - tails)) ** (power / 2.0)
    return Estimate(plain.value, float(low), float(high))


def _freedom_of_few(found: LogRatio, replicas: int, level: float) -> float:
    """Return the degrees of freedom with which the squared spread of 3 to 7 replicas is a χ².

    Few replicas do not show along how many directions they lie, so their error is stretched to
    Student's: to no fewer degrees of freedom than the N - 1 that Gaussians have along one
    direction. What the jackknife itself finds may go below.
    """
    if not math.isfinite(found.error):  # all but one replica are equal
        return _LEAST_FREEDOM
    varies = max(found.variance, _steadied(found, replicas))
    # With N (N - 2) of Student's, .944 to .970 with 3 to 7 along 1 to 200 directions; without .87.
    tail = 0.5 + level / 2.0
    stretched = varies * float(stdtrit(replicas * (replicas - 2), tail) / ndtri(tail)) ** 2
    shown, careful = (2.0 * _inverse_trigamma(4.0 * v) for v in (varies, stretched))
    return max(_LEAST_FREEDOM, min(shown, max(replicas - 1.0, careful)))


def log_ratio(first: Array | None, last: Array) -> LogRatio:
    """Return the logarithm of a ratio of spreads and what is known of its error.

    Args:
        first: Gram matrix ``(N, N)`` of the replicas before; None for the spread itself, as a
            ratio to what is known exactly.
        last: the same replicas after.
    """
    n = last.shape[-1]
    after = _centred(last)
    before = None if first is None else _centred(first)
    last_freedom, first_freedom = degrees_of_freedom(before, after)
    value = _half_log(np.trace(after)) - (0.0 if before is None else _half_log(np.trace(before)))
    if before is None:
        value -= 0.5 * float(np.log(n - 1))
    halves = np.array([last_freedom, first_freedom]) / 2.0
    bias = _bias(halves)
    variance, skew = polygamma(1, halves) / 4.0, polygamma(2, halves) / 8.0
    left_out = _half_log(_without_one(after))
    if before is not None:
        left_out = left_out - _half_log(_without_one(before))
    error = float(np.sqrt((n - 1) ** 2 / n * np.var(left_out, ddof=1))) if n >= FEWEST else nan
    total = float(bias[0] - bias[1]), float(variance.sum()), float(skew[0] - skew[1])
    found = LogRatio(float(value), *total, error)
    if n < FEWEST:
        return found
    whole = _half_log(np.trace(after)) - (0.0 if before is None else _half_log(np.trace(before)))
    lost = (n - 1) * float(left_out.mean() - whole)
    fewer = (n - 1) * (_bias(halves * (n - 2) / (n - 1)) - bias)
    expected = float(fewer[0] - fewer[1])
    return replace(found, uneven=_skewness(-left_out), lost=lost, expected=expected)


def _of_one(found: LogRatio, replicas: int, level: float, power: float) -> Estimate:
    value = float(np.exp(power * found.value))
    if replicas < FEWEST:
        return Estimate(value, interval_reason=TOO_FEW_REPLICAS)
    if not np.isfinite([found.value, found.error]).all():
        return Estimate(value, interval_reason=CONSTANT)
    normal, freedom = float(ndtri(0.5 + level / 2.0)), replicas - 1 + _STEADY
    square = _steadied(found, replicas)
    error = square**0.5
    skewness = found.skew / max(found.variance, square) ** 1.5 if error else 0.0
    shift = skewness / 6.0 * (normal**2 - 1.0)
    centre = found.value - found.bias
    scale = float(stdtrit(freedom, 0.5 + level / 2.0)) / normal * error
    ends = centre - scale * (shift + np.array([normal, -normal]))
    if replicas >= _ENOUGH_FOR_SKEW and found.uneven > 0.0:
        # A sample that missed the few that grow most is both too low and too sure.
        limit = students_limits(replicas, level, found.uneven)[0]
        ends[1] = max(ends[1], centre - limit * error)
    with np.errstate(over="ignore"):
        low = np.exp(power * min(ends[0], found.value))
        high = np.exp(power * max(ends[1], found.value))
    return Estimate(value, float(low), float(high))


def _steadied(found: LogRatio, replicas: int) -> float:
    """Return the jackknife's variance, steadied by what the degrees of freedom say of it."""
    both = _STEADY * found.variance + (replicas - 1) * found.error**2
    return both / (replicas - 1 + _STEADY)


def _of_several(logs: Sequence[LogRatio], level: float, power: float) -> Estimate:
    seeds = len(logs)
    each = np.array([one.value - one.bias for one in logs])
    centre = float(each.mean())
    value = float(np.exp(power * centre))
    if not np.isfinite(each).all():
        return Estimate(value, interval_reason=CONSTANT)
    deviation = float(each.std(ddof=1))
    variance = max(deviation**2, float(np.mean([one.variance for one in logs])))
    skewness = float(np.mean([one.skew for one in logs])) / variance**1.5 if variance else 0.0
    low, high = students_limits(seeds, level, skewness)
    scale = deviation / seeds**0.5
    # Where few replicas grow by unlike factors each ratio lies lower than its degrees of freedom
    # say, and no number of base seeds would mend that: the upper end allows for it.
    lost = float(np.mean([_beyond(one) for one in logs]))
    upper = centre - low * scale + (lost if lost > 0.0 else 0.0)
    with np.errstate(over="ignore"):
        ends = np.exp(power * np.array([centre - high * scale, upper]))
    return Estimate(value, float(ends[0]), float(ends[1]))


def _beyond(one: LogRatio) -> float:
    """Return how much lower a ratio lies than its degrees of freedom say, by the jackknife."""
    usual = _WEIGHT_OF_BIAS * one.bias + (1.0 - _WEIGHT_OF_BIAS) * one.expected
    return usual - one.lost


def students_limits(count: int, level: float, skewness: float) -> tuple[float, float]:
    """Return the limits between which Student's t of skewed values lies.

    Student's quantile, moved by the first term of the expansion at the normal one: at Student's
    own the term, which is made for many values, goes astray with three.

    Args:
        count: number of values, at least 2.
        level: nominal coverage.
        skewness: third central moment ÷ standard deviation³ of the values.

    >>> [round(x, 3) for x in students_limits(5, 0.95, 0.0)]
    [-2.776, 2.776]
    >>> [round(x, 2) for x in students_limits(5, 0.95, -1.0)]
    [-2.13, 3.42]
    """
    normal = float(ndtri(0.5 + level / 2.0))
    student = float(stdtrit(count - 1, 0.5 + level / 2.0))
    moved = skewness * (1.0 + 2.0 * normal**2) / (6.0 * math.sqrt(count))
    return -student - moved, student - moved


def _inverse_trigamma(value: float) -> float:
    """Return x with trigamma(x) = value > 0, by Newton's method on 1 ÷ trigamma (Smyth)."""
    if value < 1e-9:
        return min(1.0 / max(value, 1.0 / MANY), MANY)
    x = 0.5 + 1.0 / value
    for _ in range(50):
        here = float(polygamma(1, x))
        step = here * (1.0 - here / value) / float(polygamma(2, x))
        x += step
        if abs(step) < 1e-12 * x:
            break
    return x


def _bias(halves: Array) -> Array:
    """Return how far half the logarithm of χ² ÷ freedom lies off 0 on average."""
    return np.asarray((psi(halves) - np.log(halves)) / 2.0)


def _pairs(pairs: object) -> list[tuple[Array, Array]]:
    """Return pairs of Gram matrices of the same replicas."""
    try:
        given = [tuple(pair) for pair in pairs]  # type: ignore[attr-defined]
    except TypeError:
        given = []
    if not given or any(len(pair) != 2 for pair in given):
        raise RequestError(
            f"pairs is {shown(pairs)}: give a list of (first, last), one for each base seed"
        )
    found = [(_gram(first), _gram(last)) for first, last in given]
    for first, last in found:
        if first.shape != last.shape:
            raise RequestError(f"Gram matrices have shapes {first.shape} and {last.shape}")
    return found


def _gram(g: Array) -> Array:
    g = as_float64(g, "the Gram matrix")
    if g.ndim != 2 or g.shape[0] != g.shape[1] or not len(g):
        raise RequestError(f"the Gram matrix has shape {g.shape}; give (replicas, replicas)")
    return g


def _checked(level: float, power: float) -> tuple[float, float]:
    level = real_number(level, "level", "give a coverage between 0 and 1")
    if not 1e-9 < level < 1.0:  # below it Student's t and the normal are the same 0
        raise RequestError(f"level is {level}: give a coverage between 0 and 1")
    return level, real_number(power, "power")


def _centred(g: Array) -> Array:
    rows = g - g.mean(axis=0, keepdims=True)
    found: Array = rows - rows.mean(axis=1, keepdims=True)
    return found


def _half_log(square: Array | np.floating) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(0.5 * np.log(square))


def _without_one(centred: Array) -> Array:
    """Return the sum of squares about the mean without each replica in turn, (N,)."""
    n, own = len(centred), np.diagonal(centred)
    found: Array = own.sum() - own * n / (n - 1)
    return found


def _skewness(values: Array) -> float:
    """Return the unbiased skewness of values, 0 where they do not vary."""
    n, apart = len(values), values - values.mean()
    variance = float((apart**2).mean())
    if not variance > 0.0:
        return 0.0
    skew = float((apart**3).mean()) / math.pow(variance, 1.5)
    return skew * math.sqrt(n * (n - 1)) / (n - 2)
