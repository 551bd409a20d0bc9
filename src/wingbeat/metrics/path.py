"""How far a run travels through weight space, and how fast."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.arguments import as_float64, points_of
from wingbeat.errors import RequestError
from wingbeat.metrics.blocks import require_axes
from wingbeat.metrics.distance import l2
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from wingbeat.arguments import Points


@dataclass(frozen=True)
class Velocity:
    """Weight-space speed in weight per step.

    Attributes:
        each: ``(T − 1, ...)``, distance ÷ steps for every interval between snapshots.
        mean: ``(...)``, mean of ``each`` over intervals; NaN below two snapshots.
        std: ``(...)``, its standard deviation (ddof 0); NaN below two snapshots.
    """

    each: Array
    mean: Array
    std: Array


def path_length(points: Points) -> Array:
    """Return the summed distance from snapshot to snapshot.

    A lower bound of the path that training took: more snapshots, longer path.

    Args:
        points: ``(T, ..., P)``.

    Returns:
        ``(...)``, unit weight, ≥ 0, 0 = never moved; NaN below two snapshots.

    Raises:
        RequestError: for fewer than two axes.

    >>> float(path_length(np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]])))
    6.0
    """
    hops = _hops(points)
    return np.asarray(hops.sum(axis=0)) if len(hops) else np.full(hops.shape[1:], nan)


def velocity(points: Points, steps: ArrayLike) -> Velocity:
    """Return the distance per step between neighbouring snapshots.

    Args:
        points: ``(T, ..., P)``.
        steps: ``(T,)``, increasing.

    Returns:
        A `Velocity`, each value ≥ 0, 0 = at rest.

    Raises:
        RequestError: if steps do not fit the points or do not increase.

    >>> v = velocity(np.array([[0.0], [4.0], [6.0]]), [0, 2, 4])
    >>> v.each, float(v.mean), float(v.std)
    (array([2., 1.]), 1.5, 0.5)
    """
    hops = _hops(points)
    time = as_float64(steps, "steps")
    if time.shape != (len(hops) + 1,):
        raise RequestError(f"steps have shape {time.shape} for {len(hops) + 1} snapshots")
    if not (np.diff(time) > 0).all():
        raise RequestError(f"steps are {time.tolist()}; they must increase")
    each = hops / np.diff(time).reshape(-1, *[1] * (hops.ndim - 1))
    if not len(each):
        empty = np.full(each.shape[1:], nan)
        return Velocity(each, empty, empty)
    return Velocity(each, np.asarray(each.mean(axis=0)), np.asarray(each.std(axis=0)))


def _hops(points: Points) -> Array:
    points = points_of(points)
    require_axes(points, 2, "(snapshots, ..., parameters)")
    if not points.shape[0]:
        raise RequestError(f"points have shape {tuple(points.shape)}; give one snapshot or more")
    return l2(points[1:], points[:-1])
