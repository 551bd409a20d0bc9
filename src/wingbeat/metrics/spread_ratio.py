"""A ratio of two spreads of the same replicas, with an interval that holds for few and skewed ones.

The logarithm of a spread is skewed and its mean lies too low: along one growing direction the
squared spread of N Gaussian replicas is a χ² of N − 1 degrees of freedom, along many it is nearly
certain. How many degrees of freedom it has is read from the Gram matrices; the mean that they
imply is taken off the logarithm of the ratio.

Of one base seed the error is the jackknife's over replicas, steadied a little by what the degrees
of freedom say and stretched to Student's t; the ends are those of the χ² whose logarithm varies as
much. Three replicas vary no more than along one direction, which bounds their interval. From four
on the upper end allows for their own skewness: where they grow by unlike factors, a sample often
misses the few that carry the spread. Over base seeds the error is that among them, with Student's
t of skewed values. Simulated coverage is in docs/intervals.md (``benchmarks.coverage``).

Sources: Box, Annals of Mathematical Statistics 25 (1954), theorem 3.1, and Satterthwaite,
Biometrics Bulletin 2 (1946), for the degrees of freedom of a sum of χ²; Himeno and Yamada,
Journal of Multivariate Analysis 130 (2014), for the unbiased traces; Miller, Biometrika 61 (1974),
for the jackknife on the logarithm of a variance; Smyth, Statistical Applications in Genetics and
Molecular Biology 3 (2004), for an error that is steadied by another; Johnson, Journal of the
American Statistical Association 73 (1978), for Student's t of several skewed values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from math import nan
from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat import special
from wingbeat.arguments import as_float64, real_number, shown
from wingbeat.errors import CONSTANT, TOO_FEW_REPLICAS, RequestError
from wingbeat.metrics.degrees_of_freedom import FEWEST, degrees_of_freedom
from wingbeat.metrics.skewed import half_log_bias, reach, students_limits
from wingbeat.stats import Estimate
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Sequence


_STEADY: Final = 0.4
"""Degrees of freedom with which the variance that the Gram matrices imply counts beside the
jackknife's N - 1, whose variance is too small by chance often enough to matter. With .2 five
replicas of a small net and uneven ones cover .004 less."""
_FREEDOM_OF_THREE: Final = 2.4
"""Degrees of freedom of Student's t for three replicas; N from four on. With three, they cover .94
on a neutral map and .88 where they grow unlike along many directions; with two, .98 along two."""
_LEAST_FREEDOM_OF_THREE: Final = 1.95
"""Three Gaussians have two degrees of freedom along one direction and more along several. With
2.0, three uneven replicas cover .932, with 1.9 Gaussian ones .970; without a bound, .98."""
_LEAST_FREEDOM: Final = 1.0
"""With more replicas the jackknife may find less, but no end lies further off than that of one
degree of freedom, a factor of 17: where one replica lies far from four that stayed together, the
upper end would be 100,000 times the value."""
_WEIGHT_OF_SKEW: Final = 2.0
"""How much the replicas' own skewness counts: that of a few lies far below that of many. With 1,
ten uneven replicas cover .91 to .94, with 2 .93 to .95; even ones cover .003 more."""
_WEIGHT_OF_BIAS: Final = 0.4
"""How much of what the jackknife finds lost beyond the bias itself counts, beside what it would
find in Gaussian replicas. All of it covers .98 to .99 with three replicas that grow along one
direction, none .92 with ten base seeds of three uneven ones."""


@dataclass(frozen=True)
class LogRatio:
    """The logarithm of one base seed's ratio of spreads.

    Attributes:
        value: ln(last spread ÷ first spread).
        bias: how far it lies above its limit for many replicas, on average (mostly negative).
        variance: what the degrees of freedom say of its sampling variance.
        earlier: which share of that variance is the first spread's.
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
    earlier: float = 0.0


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
    pairs, (level, power) = _pairs(pairs), checked_numbers(level, power)
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
    bias = half_log_bias(halves)
    variance, skew = special.polygamma(1, halves) / 4.0, special.polygamma(2, halves) / 8.0
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
    fewer = (n - 1) * (half_log_bias(halves * (n - 2) / (n - 1)) - bias)
    expected = float(fewer[0] - fewer[1])
    earlier = float(variance[1] / variance.sum())
    uneven = _skewness(-left_out)
    return replace(found, uneven=uneven, lost=lost, expected=expected, earlier=earlier)


def _of_one(found: LogRatio, replicas: int, level: float, power: float) -> Estimate:
    value = float(np.exp(power * found.value))
    if replicas < FEWEST:
        return Estimate(value, interval_reason=TOO_FEW_REPLICAS)
    if not np.isfinite([found.value, found.error]).all():
        return Estimate(value, interval_reason=CONSTANT)
    centre = found.value - found.bias
    above, below = _reach_of_one(found, replicas, level)
    with np.errstate(over="ignore"):
        low = np.exp(power * min(centre - below, found.value))
        high = np.exp(power * max(centre + above, found.value))
    return Estimate(value, float(low), float(high))


def _reach_of_one(found: LogRatio, replicas: int, level: float) -> tuple[float, float]:
    """Return how far the truth may lie above and below the value freed of its bias."""
    tail, few = 0.5 + level / 2.0, replicas == FEWEST
    freedom = _FREEDOM_OF_THREE if few else float(replicas)
    variance = steadied(found, replicas, _STEADY)
    stretched = variance * float(special.stdtrit(freedom, tail) / special.ndtri(tail)) ** 2
    least = _LEAST_FREEDOM_OF_THREE if few else _LEAST_FREEDOM
    most = float(special.polygamma(1, least / 2.0)) / 4.0
    parts = [stretched * (1.0 - found.earlier), stretched * found.earlier]
    later, earlier = (reach(min(part, most), level) for part in parts)
    # Where the first spread is too large by chance the ratio is too small.
    above, below = math.hypot(later[0], earlier[1]), math.hypot(later[1], earlier[0])
    if not few and found.uneven > 0.0:
        # A sample that missed the few that grow most is both too low and too sure.
        limit = students_limits(freedom + 1.0, level, _WEIGHT_OF_SKEW * found.uneven)[0]
        above = max(above, min(-limit * math.sqrt(variance), reach(most, level)[0]))
    return above, below


def steadied(found: LogRatio, replicas: int, weight: float) -> float:
    """Return the jackknife's variance, steadied by what the degrees of freedom say of it.

    Args:
        found: of N replicas.
        replicas: N.
        weight: degrees of freedom with which the latter counts beside the jackknife's N - 1.
    """
    both = weight * found.variance + (replicas - 1) * found.error**2
    return both / (replicas - 1 + weight)


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
    found = [(checked_gram(first), checked_gram(last)) for first, last in given]
    for first, last in found:
        if first.shape != last.shape:
            raise RequestError(f"Gram matrices have shapes {first.shape} and {last.shape}")
    return found


def checked_gram(g: Array) -> Array:
    """Return a Gram matrix as float64, or refuse what is none."""
    g = as_float64(g, "the Gram matrix")
    if g.ndim != 2 or g.shape[0] != g.shape[1] or not len(g):
        raise RequestError(f"the Gram matrix has shape {g.shape}; give (replicas, replicas)")
    return g


def checked_numbers(level: float, power: float) -> tuple[float, float]:
    """Return a coverage and a power as numbers, or refuse them."""
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
