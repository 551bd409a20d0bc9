"""The largest exponent from a measured series: Rosenstein's and Kantz's estimators.

Both follow how the distance of neighbours in a space of delayed values grows. What they return
is the slope of a straight part of that curve; where there is none, there is no exponent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import stdtrit

from wingbeat.brief import brief
from wingbeat.errors import (
    BELOW_NOISE_FLOOR,
    CONSTANT,
    DIVERGED,
    NO_LINEAR_REGION,
    TOO_FEW_POINTS,
    RequestError,
    nearest,
)
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


Method = Literal["rosenstein", "kantz"]
_METHODS = ("rosenstein", "kantz")
_PARTS = 5
"""Parts of a series whose slopes give the interval: longer ones hardly depend on each other."""
_LEAST_REST = 3


@dataclass(frozen=True)
class SeriesExponent:
    """An exponent read from a series.

    Attributes:
        exponent: slope of the straight part, 1/step of the series; > 0 = neighbours part. NaN
            where `reason` is not empty.
        window: first and last number of steps of the straight part; (0, 0) if there is none.
        r2: share of the variance that the line explains there, in [0, 1].
        curve: ``(horizon + 1,)``, mean ln distance after 0, 1, … steps.
        pairs: number of neighbours or reference points that the curve rests on.
        reason: empty, or why there is no exponent: ``no_linear_region`` (also where the curve goes
            on rising at another slope beyond its straightest part), ``too_few_points``,
            ``constant``, ``below_noise_floor`` (neighbours are equal, as on a periodic orbit)
            or ``diverged``.
        low: lower end of the 95 % interval, from the slopes of five parts of the series; it is
            about this series and window, not about the choice of embedding.
        high: upper end.
    """

    exponent: float
    window: tuple[int, int]
    r2: float
    curve: Array
    pairs: int
    reason: str = ""
    low: float = np.nan
    high: float = np.nan

    __repr__ = brief


@dataclass(frozen=True)
class LinearRegion:
    """A straight part of a curve: first and last index, slope, and share explained."""

    window: tuple[int, int]
    slope: float
    r2: float


def from_series(
    series: ArrayLike,
    *,
    method: Method = "rosenstein",
    dimension: int = 2,
    delay: int = 1,
    theiler: int = 10,
    horizon: int = 20,
    radius: float | None = None,
    least: int = 5,
    r2: float = 0.995,
) -> SeriesExponent:
    """Estimate the largest exponent from one scalar series.

    Rosenstein follows the nearest neighbour of every point and averages ln distance in the
    space of delayed values; Kantz averages, for every point, the distance of the newest value
    over all neighbours within a radius, and then the logarithms. Neighbours closer in time than
    the Theiler window are on the same piece of orbit and do not count.

    The exponent is the slope over the longest stretch of the curve that is straight
    (`linear_region`). Noise has no such stretch: its curve jumps at the first step. A flow that
    is sampled finely turns neighbours towards the fastest direction first, and the curve is
    steeper meanwhile: where it goes on rising at another slope beyond the stretch, the stretch is
    that transient, and there is no exponent; follow the pairs longer (``horizon``).

    Args:
        series: ``(N,)``.
        method: "rosenstein" or "kantz".
        dimension: number of delayed values.
        delay: steps between them.
        theiler: neighbours at most so many steps apart in time are left out.
        horizon: how many steps pairs are followed.
        radius: of Kantz's neighbourhoods; default a tenth of the standard deviation.
        least: fewest points of a straight part.
        r2: least share of variance that a line must explain.

    Raises:
        RequestError: for arguments out of range.

    Source: Rosenstein, Collins and De Luca, Physica D 65 (1993); Kantz, Physics Letters A 185
    (1994); Theiler, Physical Review A 34 (1986).

    >>> x = [0.3]
    >>> for _ in range(1999):
    ...     x.append(4 * x[-1] * (1 - x[-1]))
    >>> bool(abs(from_series(x, dimension=1, horizon=10).exponent - np.log(2)) < 0.05)
    True
    """
    values = np.asarray(series, dtype=np.float64)
    _check(values, method, dimension, delay, theiler, horizon, least)
    missing = _missing(values, (dimension - 1) * delay + horizon + 2 * theiler + 10)
    if missing:
        return _undefined(missing, horizon)
    points = embed(values, dimension, delay)
    last = len(points) - horizon
    if method == "rosenstein":
        curve, parts, pairs = _rosenstein(points, last, theiler, horizon)
    else:
        size = 0.1 * float(values.std()) if radius is None else radius
        curve, parts, pairs = _kantz(points, last, theiler, horizon, size)
    if pairs == 0:
        return _undefined(TOO_FEW_POINTS, horizon)
    if not np.isfinite(curve).all():
        return SeriesExponent(np.nan, (0, 0), np.nan, curve, pairs, BELOW_NOISE_FLOOR)
    region = linear_region(curve, least=least, r2=r2)
    if region is None or _rises_on(curve, region):
        return SeriesExponent(np.nan, (0, 0), np.nan, curve, pairs, NO_LINEAR_REGION)
    half = _half_width(parts, region.window)
    ends = region.slope - half, region.slope + half
    return SeriesExponent(region.slope, region.window, region.r2, curve, pairs, "", *ends)


def _rises_on(curve: Array, region: LinearRegion) -> bool:
    """Tell whether the curve goes on beyond a stretch at a slope that is neither its own nor flat.

    Levelling off it keeps 0.3 of the slope at most, on the Lorenz flow; after its transient 0.48.
    """
    rest = curve[region.window[1] :]
    return rest.size > _LEAST_REST and (rest[-1] - rest[0]) / (rest.size - 1) > 0.4 * region.slope


def _half_width(parts: Array, window: tuple[int, int]) -> float:
    """Return half of Student's interval from the slopes of the parts of a series."""
    slopes = np.array([_line(part[window[0] : window[1] + 1])[0] for part in parts])
    error = slopes.std(ddof=1) / len(slopes) ** 0.5
    return float(stdtrit(len(slopes) - 1, 0.975) * error)


def embed(series: ArrayLike, dimension: int, delay: int) -> Array:
    """Return points of delayed values ``(N − (dimension − 1)·delay, dimension)``.

    >>> embed([1, 2, 3, 4], 2, 2).tolist()
    [[1.0, 3.0], [2.0, 4.0]]
    """
    values = np.asarray(series, dtype=np.float64)
    count = values.size - (dimension - 1) * delay
    return np.stack([values[i * delay : i * delay + count] for i in range(dimension)], axis=1)


def linear_region(curve: ArrayLike, *, least: int = 5, r2: float = 0.995) -> LinearRegion | None:
    """Return the longest straight rise of a curve, or None.

    A stretch counts if a line explains at least ``r2`` of its variance, rises by at least
    ln 2 over it, and no half of it has less than half, or more than twice, the slope of the
    whole. Of equally long ones the straightest is taken.

    Args:
        curve: ``(T,)``.
        least: fewest points.
        r2: least share of the variance, in (0, 1).

    >>> found = linear_region([0, 1, 2, 3, 4, 5, 5, 5, 5, 5, 5])
    >>> found.window, round(found.slope, 6)
    ((0, 5), 1.0)
    """
    values = np.asarray(curve, dtype=np.float64)
    best: LinearRegion | None = None
    for count in range(values.size, least - 1, -1):
        for begin in range(values.size - count + 1):
            slope, share = _line(values[begin : begin + count])
            straight = share >= r2 and slope * (count - 1) >= np.log(2.0)
            better = best is None or share > best.r2
            if straight and better and _even(values[begin : begin + count], slope):
                best = LinearRegion((begin, begin + count - 1), slope, share)
        if best is not None:
            return best
    return None


def _line(values: Array) -> tuple[float, float]:
    time = np.arange(values.size) - (values.size - 1) / 2
    rise = values - values.mean()
    slope = float(time @ rise / (time @ time))
    total = float(rise @ rise)
    rest = rise - slope * time
    return slope, (1.0 - float(rest @ rest) / total if total > 0.0 else 0.0)


def _even(values: Array, slope: float) -> bool:
    half = (values.size + 1) // 2
    halves = (_line(values[:half])[0], _line(values[-half:])[0])
    return all(0.5 * slope <= part <= 2.0 * slope for part in halves)


def _rosenstein(points: Array, last: int, theiler: int, horizon: int) -> tuple[Array, Array, int]:
    """Follow the nearest neighbour of each point; returns curve, curves of parts, and pairs."""
    wanted = min(2 * theiler + 2, last)
    near = np.asarray(cKDTree(points[:last]).query(points[:last], k=[*range(1, wanted + 1)])[1])
    apart = np.abs(near - np.arange(last)[:, None]) > theiler
    chosen = np.flatnonzero(apart.any(axis=1))
    partner = near[chosen, apart[chosen].argmax(axis=1)]
    curve, parts = np.empty(horizon + 1), np.empty((_PARTS, horizon + 1))
    for n in range(horizon + 1):
        distance = np.linalg.norm(points[chosen + n] - points[partner + n], axis=1)
        curve[n] = _mean_log(distance)
        parts[:, n] = [_mean_log(part) for part in np.array_split(distance, _PARTS)]
    return curve, parts, chosen.size


def _mean_log(distance: Array) -> float:
    positive = distance[distance > 0.0]
    return float(np.log(positive).mean()) if 2 * positive.size > distance.size else np.nan


def _kantz(
    points: Array, last: int, theiler: int, horizon: int, radius: float
) -> tuple[Array, Array, int]:
    """Follow all neighbours within a radius; returns curve, curves of parts, and points."""
    tree, ahead = cKDTree(points[:last]), np.arange(horizon + 1)
    newest, logs = points[:, -1], []
    for i, found in enumerate(tree.query_ball_point(points[:last], radius)):
        near = np.asarray(found, dtype=np.int64)
        near = near[np.abs(near - i) > theiler]
        if not near.size:
            continue
        apart = np.abs(newest[near[:, None] + ahead] - newest[i + ahead]).mean(axis=0)
        with np.errstate(divide="ignore"):
            logs.append(np.log(apart))
    if not logs:
        return np.zeros(horizon + 1), np.zeros((_PARTS, horizon + 1)), 0
    rows: Array = np.stack(logs)
    cut = np.array_split(rows, _PARTS)
    few = [part.mean(axis=0) if len(part) else np.full(horizon + 1, np.nan) for part in cut]
    return rows.mean(axis=0), np.stack(few), len(rows)


def _check(
    values: Array,
    method: str,
    dimension: int,
    delay: int,
    theiler: int,
    horizon: int,
    least: int,
) -> None:
    if values.ndim != 1:
        raise RequestError(f"the series has shape {values.shape}; give one axis")
    if method not in _METHODS:
        raise RequestError(f"method is {method!r}; {nearest(method, _METHODS)}")
    if dimension < 1 or delay < 1 or theiler < 0:
        raise RequestError(
            f"dimension is {dimension}, delay {delay}, theiler {theiler}; give at least 1, 1 and 0"
        )
    if not 3 <= least <= horizon + 1:
        raise RequestError(f"least is {least} of {horizon + 1} points; give 3 to {horizon + 1}")


def _missing(values: Array, needed: int) -> str:
    if values.size < needed:
        return TOO_FEW_POINTS
    if not np.isfinite(values).all():
        return DIVERGED
    return CONSTANT if np.ptp(values) == 0.0 else ""


def _undefined(reason: str, horizon: int) -> SeriesExponent:
    return SeriesExponent(np.nan, (0, 0), np.nan, np.full(horizon + 1, np.nan), 0, reason)
