"""Connectedness of a cloud of points: its minimum spanning tree, with and without its scale.

The finite bars of a Vietoris–Rips filtration in degree 0 are born at 0 and die at the edges of the
Euclidean minimum spanning tree; so no library of topology is needed for them. The filtration is by
diameter: two points are joined at their distance.
"""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np

from wingbeat.arguments import as_float64
from wingbeat.errors import RequestError
from wingbeat.metrics.gram import moved_to
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wingbeat.arguments import Points

Distance = Literal["euclidean", "angle"]


def distances(points: Points, kind: Distance = "euclidean") -> Array:
    """Return the distances between points, (n, n), in float64 of centred data.

    Args:
        points: (n, features).
        kind: "euclidean", or "angle" between the points as vectors from the origin, in radian. The
            cosine "distance" 1 − cos breaks the triangle inequality and is not offered.

    Raises:
        RequestError: no matrix, or an unknown kind.

    >>> distances(np.array([[0.0, 0.0], [3.0, 4.0]]))
    array([[0., 5.],
           [5., 0.]])
    """
    if kind not in get_args(Distance):
        raise RequestError(f"kind is {kind!r}: use one of {get_args(Distance)}")
    x = as_float64(points)
    if x.ndim != 2:
        raise RequestError(f"points have shape {x.shape}: give (points, features)")
    from scipy.spatial.distance import cdist  # late: 0.1 s that other runs need not pay

    if kind == "euclidean":
        moved = moved_to(x, "mean") if len(x) else x
        return np.asarray(cdist(moved, moved))
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        chord = cdist(unit, unit)
    return np.asarray(2 * np.arcsin(np.minimum(1.0, chord / 2)))


def tree_edges(apart: Array) -> Array:
    """Return the edges of the minimum spanning tree, (n − 1,), ascending: the deaths in degree 0.

    Args:
        apart: (n, n), distances. Points that coincide give edges of length 0.

    Returns:
        In units of the distances; empty for fewer than two points, NaN where one is not finite.

    Raises:
        RequestError: no square matrix.

    >>> tree_edges(distances(np.array([[0.0], [1.0], [5.0]])))
    array([1., 4.])
    """
    apart = as_float64(apart, "distances")
    if apart.ndim != 2 or apart.shape[0] != apart.shape[1]:
        raise RequestError(f"distances have shape {apart.shape}: give (n, n)")
    if len(apart) < 2:
        return np.zeros(0)
    if not np.isfinite(apart).all():
        return np.full(len(apart) - 1, nan)
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    return np.asarray(linkage(squareform(apart, checks=False), "single")[:, 2])


def tree_length(points: Points) -> float:
    """Return the length of the minimum spanning tree: total persistence in degree 0.

    Args:
        points: (n, features).

    Returns:
        In units of the features, [0, ∞); it grows with n as n^((d−1)/d) in dimension d, and with
        the scale of the features: compare only equal n. NaN where a point is not finite.

    >>> tree_length(np.array([[0.0], [1.0], [5.0]]))
    5.0
    """
    return float(tree_edges(distances(points)).sum())


def scaled_tree_length(points: Points) -> float:
    """Return the length of the spanning tree ÷ ((n − 1) · mean distance of two points).

    Args:
        points: (n, features).

    Returns:
        In (0, 1], no unit, unchanged by shift, rotation and scale; 1 where all distances are equal.
        It is a dimension in disguise: 300 Gaussian points give .02 in one dimension, .10 in two,
        .31 in five, .77 in fifty. NaN for fewer than two points, where all coincide, or where one
        is not finite.

    >>> round(scaled_tree_length(np.eye(4)), 12)
    1.0
    """
    return scaled_tree_length_of(distances(points))


def scaled_tree_length_of(apart: Array) -> float:
    """Return `scaled_tree_length` from distances (n, n).

    >>> scaled_tree_length_of(np.array([[0.0, 2.0], [2.0, 0.0]]))
    1.0
    """
    edges, n = tree_edges(apart), len(apart)
    mean = float(apart.sum()) / (n * (n - 1)) if n > 1 else 0.0
    return float(edges.mean()) / mean if mean > 0 else nan


class Landmarks(NamedTuple):
    """A subset of points, and how far the others are from it at most."""

    places: NDArray[np.intp]
    radius: float


def landmarks(apart: Array, count: int, first: int = 0) -> Landmarks:
    """Return points chosen one by one, each the farthest from those before.

    Args:
        apart: (n, n), distances.
        count: how many, at most n.
        first: the point to start from.

    Returns:
        The chosen places and the covering radius r: no point is farther than r from a chosen one.
        The persistence diagrams of the subset and of all points are at most 2r apart (bottleneck).

    Raises:
        RequestError: ``count`` or ``first`` is out of range.

    Source: the maxmin selection of de Silva and Carlsson (2004).

    >>> landmarks(distances(np.array([[0.0], [1.0], [5.0]])), 2)
    Landmarks(places=array([0, 2]), radius=1.0)
    """
    n = len(apart)
    if not (1 <= count <= n and 0 <= first < n):
        raise RequestError(f"count is {count} and first is {first}: use 1 to {n} and 0 to {n - 1}")
    chosen, nearest = [first], apart[first].copy()
    while len(chosen) < count:
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, apart[chosen[-1]])
    return Landmarks(np.array(chosen), float(nearest.max()))
