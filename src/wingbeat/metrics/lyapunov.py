"""Finite-time exponents: how fast, per step, the logarithm of a distance grows."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np

from wingbeat.arguments import as_float64, real_number, shown
from wingbeat.errors import (
    BELOW_NOISE_FLOOR,
    DIVERGED,
    SATURATED,
    TOO_FEW_POINTS,
    RequestError,
)
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Mask = NDArray[np.bool_]


_SATURATION = "give a distance above 0, or None"


@dataclass(frozen=True)
class Exponent:
    """A least-squares exponent and what it rests on.

    Attributes:
        slope: of ln distance per step, 1/step; > 0 = parting, < 0 = merging.
        intercept: fitted ln distance at step 0.
        r2: share of the variance of ln distance that the line explains, in [0, 1]; NaN where
            ln distance does not vary.
        two_point: (ln last − ln first) ÷ steps between, over the same points.
        window: first and last step used; (nan, nan) where there are none.
        points: number of steps used.
        below_floor: steps left out because a distance is not above the floor.
        saturated: steps left out because the mean distance had passed saturation.
        reason: empty where the slope is defined.
    """

    slope: float
    intercept: float
    r2: float
    two_point: float
    window: tuple[float, float]
    points: int
    below_floor: int = 0
    saturated: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Window:
    """Which steps a fit may use: ``used`` (T,), counts of what was left out, and a reason."""

    used: Mask
    below_floor: int
    saturated: int
    reason: str


def finite_time(
    steps: ArrayLike,
    distances: ArrayLike,
    *,
    floor: float = 0.0,
    saturation: float | None = None,
    window: tuple[float, float] | None = None,
    weights: ArrayLike | None = None,
) -> Exponent:
    """Fit a line to the mean ln distance against step and return its slope.

    Args:
        steps: ``(T,)``, increasing.
        distances: ``(T,)``, or ``(T, N)`` for N replicas whose logarithms are averaged.
        floor: measured noise; a step is left out if one of its distances is not above it.
        saturation: distance at which growth stops being exponential; from the first step whose
            geometric mean distance exceeds it, nothing is used.
        window: first and last step that may be used, both included.
        weights: ``(N,)``, how much each replica counts; equal by default.

    Returns:
        An `Exponent`; below two usable steps its numbers are NaN and ``reason`` says what took
        the steps away: ``too_few_points``, ``diverged``, ``below_noise_floor``, ``saturated``.

    Raises:
        RequestError: for shapes that disagree or steps that do not increase.

    Source: wingbeat definition (design, section 7); compare Danovski, Soriano and Lacasa,
    arXiv 2404.05782, who choose the window of best fit instead and so bias the slope upwards.

    >>> fit = finite_time([0, 1, 2], [1.0, 2.0, 4.0])
    >>> round(fit.slope, 6), fit.points
    (0.693147, 3)
    """
    time, apart = _series(steps, distances)
    count = np.ones(apart.shape[1]) if weights is None else as_float64(weights, "weights")
    if count.shape != (apart.shape[1],):
        raise RequestError(f"weights have shape {count.shape}; give ({apart.shape[1]},)")
    if not (count > 0).any():
        raise RequestError(f"weights are {count.tolist()}; at least one must be above zero")
    apart, count = apart[:, count > 0], count[count > 0]
    chosen = fit_window(time, apart, floor=floor, saturation=saturation, window=window)
    if chosen.reason:
        empty = (nan, nan)
        return Exponent(
            nan, nan, nan, nan, empty, 0, chosen.below_floor, chosen.saturated, chosen.reason
        )
    time = time[chosen.used]
    logs = np.log(apart[chosen.used]) @ (count / count.sum())
    return _fit(time, logs, chosen)


def fit_window(
    steps: ArrayLike,
    distances: ArrayLike,
    *,
    floor: float = 0.0,
    saturation: float | None = None,
    window: tuple[float, float] | None = None,
) -> Window:
    """Choose the steps that `finite_time` uses, for use with `finite_time_slopes`.

    Arguments are those of `finite_time`. ``reason`` is empty if at least two steps remain.

    >>> fit_window([0, 1, 2, 3], [0.0, 1.0, 2.0, 9.0], saturation=5.0).used
    array([False,  True,  True, False])
    """
    time, apart = _series(steps, distances)
    floor = real_number(floor, "floor", "give the measured noise", finite=False)
    first, last = _ends(window)
    inside = (time >= first) & (time <= last)
    finite = np.isfinite(apart).all(axis=1)
    above = (apart > max(floor, 0.0)).all(axis=1)
    ok = inside & finite & above
    unsaturated = np.ones(time.size, dtype=bool)
    if saturation is not None:
        saturation = real_number(saturation, "saturation", _SATURATION, finite=False)
        if saturation <= 0.0:
            raise RequestError(f"saturation is {saturation}: {_SATURATION}")
        logs = np.log(np.where(ok[:, None], apart, 1.0)).mean(axis=1)
        passed = ok & (logs > np.log(saturation))
        unsaturated = np.logical_not(np.logical_or.accumulate(passed))
    used = ok & unsaturated
    reason = _why((inside, inside & finite, ok, used))
    below, beyond = inside & finite & ~above, ok & ~unsaturated
    return Window(used, int(below.sum()), int(beyond.sum()), reason)


def finite_time_slopes(steps: ArrayLike, log_distances: ArrayLike, weights: ArrayLike) -> Array:
    """Return the slopes of `finite_time` for many weightings of the replicas at once.

    Args:
        steps: ``(T,)``, the steps that `fit_window` chose.
        log_distances: ``(T, N)``, finite.
        weights: ``(draws, N)`` bootstrap multiplicities.

    Returns:
        ``(draws,)`` in 1/step; NaN below two steps or where the weights sum to zero.

    >>> finite_time_slopes([0, 1], [[0.0, 0.0], [1.0, 3.0]], [[1, 1], [0, 2]])
    array([2., 3.])
    """
    time, logs = _series(steps, log_distances)
    counts = as_float64(weights, "weights")
    if counts.ndim != 2 or counts.shape[1] != logs.shape[1]:
        raise RequestError(f"weights have shape {counts.shape}; give (draws, {logs.shape[1]})")
    if time.size < 2:
        return np.full(counts.shape[0], nan)
    away = time - time.mean()
    per_replica = away @ logs / (away @ away)
    with np.errstate(invalid="ignore"):
        return np.asarray(counts @ per_replica / counts.sum(axis=1))


def local_lyapunov(steps: ArrayLike, spread: ArrayLike) -> Array:
    """Return the growth of ln spread per step between neighbouring snapshots.

    Args:
        steps: ``(T,)``, increasing.
        spread: ``(..., T)``.

    Returns:
        ``(..., T − 1)`` in 1/step, > 0 = parting; NaN where a spread is zero or not finite.

    >>> local_lyapunov([0, 10], [1.0, np.e])
    array([0.1])
    """
    time, size = _last_axis(steps, spread)
    usable = np.isfinite(size) & (size > 0.0)
    logs = np.log(np.where(usable, size, 1.0))
    growth = np.diff(logs, axis=-1) / np.diff(time)
    return np.where(usable[..., 1:] & usable[..., :-1], growth, nan)


def early_late_ratio(steps: ArrayLike, spread: ArrayLike) -> Any:
    """Return how much more the spread changes in the first half of training.

    Mean |Δ ln spread| per step before the middle step, divided by that after it; the interval
    that holds the middle counts on each side by its share. Intervals next to a spread of zero
    are left out, with their duration (replicas that part only through noise start at zero).

    Args:
        steps: ``(T,)``, increasing.
        spread: ``(T,)``, or ``(..., T)`` for many series at once.

    Returns:
        A float (or ``(...)``) ≥ 0, no unit; > 1 = it happens early. NaN if a half has no
        defined interval or nothing changes in the second.

    >>> float(early_late_ratio([0, 1, 2], [1.0, np.exp(3.0), np.exp(4.0)]))
    3.0
    """
    time, size = _last_axis(steps, spread)
    rate = np.abs(local_lyapunov(time, size))
    defined = np.isfinite(rate)
    middle = (time[0] + time[-1]) / 2.0 if time.size else nan
    early = np.diff(np.minimum(time, middle))
    late = np.diff(time) - early
    rate = np.where(defined, rate, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        first = (rate @ early) / (defined @ early)
        second = (rate @ late) / (defined @ late)
        ratio = np.where(second > 0.0, first / second, nan)
    return float(ratio) if ratio.ndim == 0 else ratio


def _ends(window: tuple[float, float] | None) -> tuple[float, float]:
    """Return the first and last step that may be used."""
    if window is None:
        return -np.inf, np.inf
    ends = as_float64(window, "window")
    if ends.shape != (2,) or np.isnan(ends).any():
        raise RequestError(f"window is {shown(window)}: give its first and last step")
    return float(ends[0]), float(ends[1])


def _why(stages: tuple[Mask, Mask, Mask, Mask]) -> str:
    """Name the first selection after which fewer than two steps are left."""
    reasons = (TOO_FEW_POINTS, DIVERGED, BELOW_NOISE_FLOOR, SATURATED)
    for kept, reason in zip(stages, reasons, strict=True):
        if np.count_nonzero(kept) < 2:
            return reason
    return ""


def _fit(time: Array, logs: Array, chosen: Window) -> Exponent:
    away, rise = time - time.mean(), logs - logs.mean()
    slope = float(away @ rise / (away @ away))
    rest, total = rise - slope * away, float(rise @ rise)
    return Exponent(
        slope=slope,
        intercept=float(logs.mean() - slope * time.mean()),
        r2=max(0.0, 1.0 - float(rest @ rest) / total) if total > 0.0 else nan,
        two_point=float((logs[-1] - logs[0]) / (time[-1] - time[0])),
        window=(float(time[0]), float(time[-1])),
        points=time.size,
        below_floor=chosen.below_floor,
        saturated=chosen.saturated,
    )


def _series(steps: ArrayLike, values: ArrayLike) -> tuple[Array, Array]:
    """Return steps ``(T,)`` and values ``(T, N)`` after checking that they belong together."""
    array = as_float64(values, "distances")
    if array.ndim not in (1, 2):
        raise RequestError(f"distances have shape {array.shape}; give (steps,) or (steps, N)")
    time = _increasing(steps, array.shape[0])
    return time, array[:, None] if array.ndim == 1 else array


def _last_axis(steps: ArrayLike, values: ArrayLike) -> tuple[Array, Array]:
    array = as_float64(values, "spread")
    if array.ndim == 0:
        raise RequestError("spread is one number; give one per step")
    return _increasing(steps, array.shape[-1]), array


def _increasing(steps: ArrayLike, length: int) -> Array:
    time = as_float64(steps, "steps")
    if time.shape != (length,):
        raise RequestError(f"steps have shape {time.shape} for {length} values; give one each")
    if not (np.diff(time) > 0).all():
        raise RequestError(f"steps are {time.tolist()}; they must increase")
    return time
