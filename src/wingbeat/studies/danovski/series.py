"""The expansion rate from one loss series, as Danovski, Soriano and Lacasa take it at η = 5.

Their recipe: of the losses at updates 2700 to 45 000, 1000 reference points; all other points
whose loss differs by less than 5e-5; the mean difference d_n after n updates; the first point
dropped; a straight line through ln d_n over 10 points, kept if its p is at most 0.05; the window
of the best R² up to 25 updates. The text leaves open how the reference points are chosen,
whether neighbours in time count, whether p is that of the 10 points or of the chosen window, and
whether windows may start late. `expansion_rates` takes: points drawn at random; neighbours at
least 25 updates away; windows that start at n = 1 and have 10 to 25 points; p of the chosen one.
A difference of one loss is no distance in weight space: nets apart may have equal losses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.stats import t as student

from wingbeat.errors import BELOW_NOISE_FLOOR, CONSTANT, DIVERGED, TOO_FEW_POINTS, RequestError
from wingbeat.lyapunov.series.nmle import best_windows
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray


RADIUS: Final = 5e-5
POINTS: Final = 1000
LONGEST: Final = 25
SHORTEST: Final = 10
SIGNIFICANT: Final = 0.05
WINDOWS: Final = tuple((0, count) for count in range(SHORTEST, LONGEST + 1))
"""First update and length of each line."""


@dataclass(frozen=True)
class ExpansionRates:
    """Local rates at which nearby losses part.

    Attributes:
        rates: ``(k,)``, slope of ln d_n, 1/update; > 0 = they part.
        losses: ``(k,)``, loss at each reference point that has a rate.
        tried: reference points.
        alone: of these, how many have no neighbour.
        equal: how many have neighbours only that stay equal to the last bit.
        reason: empty, or why there is no rate: ``too_few_points``, ``constant``, ``diverged``,
            ``below_noise_floor`` (the orbit is periodic: neighbours are equal).
    """

    rates: Array
    losses: Array
    tried: int
    alone: int
    equal: int
    reason: str = ""

    @property
    def mode(self) -> float:
        """Middle of the fullest bin of width 0.05; NaN without rates."""
        if not self.rates.size:
            return float("nan")
        bins = np.floor(self.rates / 0.05).astype(np.int64)
        values, counts = np.unique(bins, return_counts=True)
        return float(0.05 * (values[counts.argmax()] + 0.5))


def expansion_rates(
    series: ArrayLike,
    *,
    points: int = POINTS,
    radius: float = RADIUS,
    theiler: int = LONGEST,
    seed: int = 0,
) -> ExpansionRates:
    """Return the local expansion rates of a loss series.

    Args:
        series: ``(N,)``, after the transient.
        points: reference points.
        radius: neighbours differ by less.
        theiler: neighbours nearer in time than this do not count.
        seed: of the draw of reference points.

    Raises:
        RequestError: for another shape, or numbers that are not above 0.

    Source: arXiv 2404.05782, section on η = 5; what is open there is stated above.

    >>> x = [0.3]
    >>> for _ in range(20_000):
    ...     x.append(4 * x[-1] * (1 - x[-1]))
    >>> found = expansion_rates(x, points=300)
    >>> bool(0.2 < np.median(found.rates) < 0.8)
    True
    """
    values = np.asarray(series, dtype=np.float64)
    if values.ndim != 1 or points < 1 or not radius > 0 or theiler < 1:
        raise RequestError(
            f"the series has shape {values.shape}, points is {points}, radius {radius}, theiler "
            f"{theiler}: give one axis and numbers above 0"
        )
    nothing = np.empty(0)
    reason = _missing(values, theiler)
    if reason:
        return ExpansionRates(nothing, nothing, 0, 0, 0, reason)
    near = list(_neighbours(values, points, radius, theiler, seed))
    pairs = [(_apart(values, others, i), i) for i, others in near if others.size]
    growing = [(apart, i) for apart, i in pairs if (apart > 0.0).all()]
    alone, equal = len(near) - len(pairs), len(pairs) - len(growing)
    rates, losses = nothing, nothing
    if growing:
        slopes, share, windows = best_windows(np.log([apart for apart, _ in growing]), WINDOWS)
        kept = _p(share, windows[:, 1]) <= SIGNIFICANT
        rates, losses = slopes[kept], values[[i for _, i in growing]][kept]
    if not rates.size:
        reason = BELOW_NOISE_FLOOR if equal else TOO_FEW_POINTS
    return ExpansionRates(rates, losses, len(near), alone, equal, reason)


def _neighbours(
    values: Array, points: int, radius: float, theiler: int, seed: int
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield reference points, drawn at random, each with the points near it in value."""
    last = values.size - LONGEST
    generator = np.random.Generator(np.random.PCG64(seed))
    order = np.argsort(values[:last], kind="stable")
    ranked = values[:last][order]
    for i in np.sort(generator.choice(last, size=min(points, last), replace=False)):
        ends = np.searchsorted(ranked, [values[i] - radius, values[i] + radius], side="right")
        near = order[ends[0] : ends[1]]
        yield int(i), near[np.abs(near - i) >= theiler]


def _apart(values: Array, near: NDArray[np.int64], i: int) -> Array:
    """Return the mean difference after 1, …, 25 updates."""
    ahead = np.arange(1, LONGEST + 1)
    found: Array = np.abs(values[near[:, None] + ahead] - values[i + ahead]).mean(axis=0)
    return found


def _p(share: Array, count: NDArray[np.int64]) -> Array:
    """Return the two-sided p of slopes from R² and numbers of points (Student's t, n − 2)."""
    with np.errstate(divide="ignore"):
        size = np.sqrt(share * (count - 2) / np.maximum(1.0 - share, 0.0))
    return np.asarray(2.0 * student.sf(size, count - 2))


def _missing(values: Array, theiler: int) -> str:
    if values.size < 4 * LONGEST + theiler:
        return TOO_FEW_POINTS
    if not np.isfinite(values).all():
        return DIVERGED
    return CONSTANT if np.ptp(values) == 0.0 else ""
