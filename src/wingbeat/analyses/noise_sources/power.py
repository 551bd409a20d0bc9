"""How many seeds tell two recipes apart, and whether two recipes do differ.

Sources: Cohen, Statistical Power Analysis for the Behavioral Sciences (1988), section 2.4 (power
of the two-sample t test by the noncentral t distribution); Welch, Biometrika 34 (1947); Jordan,
"On the Variance of Neural Network Training with respect to Test Sets and Distributions"
(arXiv 2304.01910), for the binomial floor.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import inf, isfinite, isnan, nan, sqrt
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.optimize import brentq
from scipy.special import ncfdtr, ndtr, ndtri, stdtr, stdtrit

from wingbeat.errors import CONSTANT, TOO_FEW_REPLICAS, RequestError, require
from wingbeat.files import json_safe

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_NORMAL_FROM = 5_000
"""Seeds from which on the normal distribution stands for t: within 1e-4 of the power."""


def power_of(seeds: float, sd: float, gain: float, *, alpha: float = 0.05) -> float:
    """Return the chance that a two-sided two-sample t test finds a gain, in (0, 1).

    Args:
        seeds: runs of each recipe, at least 2.
        sd: standard deviation over seeds, the same for both recipes.
        gain: true difference of the means, in the unit of ``sd``.
        alpha: chance of a finding where there is no difference.

    Exact for normal values, by the noncentral t distribution with 2·seeds − 2 degrees of freedom
    and noncentrality gain ÷ (sd·√(2/seeds)); from 5,000 seeds on by the normal distribution.

    Raises:
        RequestError: numbers out of range.

    >>> round(power_of(64, 1.0, 0.5), 4)
    0.8015
    """
    require(0.0 < sd < inf, "sd", sd, "give a number above 0")
    _shares(alpha=alpha)
    require(seeds >= 2, "seeds", seeds, "a spread needs at least 2 of each recipe")
    require(isfinite(gain), "gain", gain, "give a finite number")
    shift = abs(gain) / (sd * sqrt(2.0 / seeds))
    if seeds >= _NORMAL_FROM:
        edge = float(ndtri(1.0 - alpha / 2.0))
        return float(ndtr(shift - edge) + ndtr(-shift - edge))
    freedom = 2.0 * seeds - 2.0
    edge = float(stdtrit(freedom, 1.0 - alpha / 2.0))
    # t² is noncentral F with one degree of freedom; SciPy computes F where its t overflows.
    found = 1.0 - float(ncfdtr(1.0, freedom, shift**2, edge**2))
    # SciPy gives NaN for some shifts of about 40, where the power is 1 to the last digit.
    return 1.0 if isnan(found) else float(min(1.0, max(0.0, found)))


def seeds_needed(sd: float, gain: float, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """Return how many runs of each of two recipes it takes to detect a gain.

    Args:
        sd: standard deviation over seeds of what is compared, for instance of test accuracy.
        gain: the smallest difference worth detecting, in the same unit; its sign is immaterial.
        power: wanted chance to find a difference of that size.
        alpha: chance of a finding where there is no difference.

    Returns:
        The smallest number for which ``power_of`` reaches ``power``; at least 2.

    Raises:
        RequestError: numbers out of range, or a gain so small that no number helps (above 1e12).

    >>> seeds_needed(1.0, 0.5), seeds_needed(0.23, 0.1)
    (64, 85)
    """
    require(0.0 < sd < inf, "sd", sd, "give a number above 0")
    _shares(power=power, alpha=alpha)
    require(isfinite(gain) and gain != 0, "gain", gain, "give a difference that is not zero")
    low, high = 1, 2
    while power_of(high, sd, gain, alpha=alpha) < power:
        low, high = high, 2 * high
        if high > 1e12:
            raise RequestError(f"gain {gain!r} is too small beside sd {sd!r} to be detected")
    while high - low > 1:
        middle = (low + high) // 2
        if power_of(middle, sd, gain, alpha=alpha) < power:
            low = middle
        else:
            high = middle
    return high


@dataclass(frozen=True)
class SeedPlan:
    """How many runs of each of two recipes to plan, when the spread itself was measured.

    Attributes:
        seeds: enough at the upper end of the spread's interval; 0 where the spread has no upper
            end, so that no number can be given.
        by_estimate: enough if the measured spread were the true one; too few about as often as not.
        least: enough at the lower end of the interval; 0 where there is none.
        power: chance of detection that was asked for.
        attained: chance that ``by_estimate`` runs detect the gain at the upper end.
        gain: the difference to be detected.
    """

    seeds: int
    by_estimate: int
    least: int
    power: float
    attained: float
    gain: float

    def sentence(self) -> str:
        """Return the plan in words, with its doubt.

        >>> plan_seeds(0.002, 0.001, 0.008, 0.005).sentence()
        'plan 42 seeds of each recipe to detect a gain of 0.005 (3 to 42 by the interval of the \
spread; 4 if the measured one were the true one, which have a chance of 0.12 if it is at its upper \
end)'
        """
        if not self.seeds:
            return (
                f"too few runs to say how many seeds detect a gain of {self.gain:g}: their spread "
                "has no upper limit"
            )
        return (
            f"plan {self.seeds} seeds of each recipe to detect a gain of {self.gain:g} "
            f"({self.least} to {self.seeds} by the interval of the spread; {self.by_estimate} if "
            f"the measured one were the true one, which have a chance of {self.attained:.2g} if "
            "it is at its upper end)"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields, JSON-safe."""
        found: dict[str, Any] = json_safe(asdict(self))
        return found


def plan_seeds(
    sd: float, low: float, high: float, gain: float, *, power: float = 0.8, alpha: float = 0.05
) -> SeedPlan:
    """Return how many runs of each recipe to plan, given an interval of the spread.

    Args:
        sd: measured standard deviation over seeds.
        low: lower end of its interval; NaN where there is none.
        high: upper end; NaN or infinite where there is none.
        gain: the smallest difference worth detecting.
        power: wanted chance to find it.
        alpha: chance of a finding where there is no difference.

    Source: planning with the upper limit of the variance, Browne, Statistics in Medicine 14 (1995).

    >>> plan_seeds(1.0, 0.7, 1.8, 0.5).seeds
    205
    """
    options = {"power": power, "alpha": alpha}
    by_estimate = seeds_needed(sd, gain, **options) if sd > 0 else 2
    if not isfinite(high):
        return SeedPlan(0, by_estimate, 0, power, nan, gain)
    least = seeds_needed(low, gain, **options) if isfinite(low) and low > 0 else 2
    attained = power_of(by_estimate, high, gain, alpha=alpha)
    return SeedPlan(seeds_needed(high, gain, **options), by_estimate, least, power, attained, gain)


def detectable(seeds: int, sd: float, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """Return the smallest gain that a number of runs of each recipe detects, in the unit of sd.

    >>> round(detectable(64, 1.0), 3)
    0.499
    """
    _shares(power=power, alpha=alpha)
    if power <= alpha:
        return 0.0
    top = 1.0
    while power_of(seeds, sd, top * sd, alpha=alpha) < power:
        top *= 2.0
    found = brentq(lambda d: power_of(seeds, sd, d * sd, alpha=alpha) - power, 0.0, top)
    return float(found) * sd


def binomial_floor(error: float, samples: int) -> float:
    """Return Jordan's variance of test accuracy over seeds, error ÷ (2·samples), a share².

    It is what a finite test set alone produces when seeds err independently on each sample and
    the ensemble of all seeds is calibrated; exact for two classes then. Above it the recipes'
    seeds differ in how good they are, not only in which samples they miss.

    Args:
        error: mean error rate, in [0, 1].
        samples: size of the test set.

    Raises:
        RequestError: numbers out of range.

    >>> round(binomial_floor(0.06, 10_000) ** 0.5, 5)
    0.00173
    """
    require(0.0 <= error <= 1.0, "error", error, "give a share between 0 and 1")
    require(samples >= 1, "samples", samples, "give the size of the test set, at least 1")
    return error / (2.0 * samples)


@dataclass(frozen=True)
class Difference:
    """Whether two recipes differ in a measured quantity.

    Attributes:
        value: mean of the second less mean of the first.
        low: lower end of its interval.
        high: upper end.
        p: chance of a difference at least as large if there were none (Welch, two-sided).
        freedom: degrees of freedom.
        verdict: "differ" if the interval leaves 0 out, else "undetermined". That two recipes are
            equal is never shown: the interval says how far apart they can be.
        level: nominal coverage.
        reason: why there is no interval, "" if there is one.
    """

    value: float
    low: float
    high: float
    p: float
    freedom: float
    verdict: Literal["differ", "undetermined"]
    level: float
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the fields, JSON-safe: null where a number is not defined."""
        found: dict[str, Any] = json_safe(asdict(self))
        return found


def differ(a: ArrayLike, b: ArrayLike, *, level: float = 0.95) -> Difference:
    """Compare a quantity of two recipes, each measured over its own seeds.

    Welch's test: the spreads may differ. Where there are fewer than two values of a recipe, or
    no spread in either, there is no interval and the verdict is "undetermined".

    Args:
        a: values of the first recipe, one a seed.
        b: of the second; not paired with the first, and of any number.
        level: nominal coverage of the interval.

    Raises:
        RequestError: a value that is not finite, no values, more than one axis.

    >>> found = differ([0.90, 0.91, 0.92], [0.95, 0.96, 0.97])
    >>> found.verdict, round(found.value, 3), round(found.low, 3), round(found.high, 3)
    ('differ', 0.05, 0.027, 0.073)
    """
    _shares(level=level)
    first, second = _sample("a", a), _sample("b", b)
    value = float(second.mean() - first.mean())
    if min(first.size, second.size) < 2:
        return Difference(value, nan, nan, nan, nan, "undetermined", level, TOO_FEW_REPLICAS)
    parts = [x.var(ddof=1) / x.size if np.ptp(x) else 0.0 for x in (first, second)]
    square = float(sum(parts))
    if square == 0.0:
        return Difference(value, nan, nan, nan, nan, "undetermined", level, CONSTANT)
    sizes = (first.size, second.size)
    shares = (part / square for part in parts)  # of the squared error, so that none underflows
    freedom = 1.0 / sum(s**2 / (n - 1) for s, n in zip(shares, sizes, strict=True))
    error = sqrt(square)
    half = float(stdtrit(freedom, 0.5 + level / 2.0)) * error
    p = float(2.0 * stdtr(freedom, -abs(value) / error))
    low, high = value - half, value + half
    verdict: Literal["differ", "undetermined"] = "undetermined"
    if low > 0.0 or high < 0.0:
        verdict = "differ"
    return Difference(value, low, high, p, freedom, verdict, level)


def _sample(name: str, values: ArrayLike) -> np.ndarray[Any, np.dtype[np.float64]]:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or not found.size:
        raise RequestError(f"{name} has shape {found.shape}: give one value for each seed")
    if not np.isfinite(found).all():
        bad = int(np.flatnonzero(~np.isfinite(found))[0])
        raise RequestError(
            f"{name}[{bad}] is {found[bad]}: leave out runs that diverged, and say how many"
        )
    return found


def _shares(**numbers: float) -> None:
    for name, value in numbers.items():
        require(0.0 < value < 1.0, name, value, "give a number between 0 and 1")
