"""How many directions a set of points really uses."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.arguments import as_float64, points_of
from wingbeat.errors import CONSTANT, DIVERGED, TOO_FEW_POINTS, RequestError
from wingbeat.metrics.gram import centred, gram, squared_distances
from wingbeat.metrics.topology import distances, tree_edges
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.arguments import Points


def participation_ratio(points: Points, *, precomputed: bool = False) -> float:
    """Return (Σμ)² ÷ Σμ² over the eigenvalues μ of the points' covariance.

    Both sums are traces of the Gram matrix, so no eigenvalue is computed.

    Args:
        points: ``(n, P)``; or, if ``precomputed``, their Gram matrix ``(n, n)``, any origin.
        precomputed: whether ``points`` is a Gram matrix.

    Returns:
        A float in [1, min(n − 1, P)], no unit: 1 = all on a line. NaN if all points are
        identical, for one point, and where a weight is not finite.

    Raises:
        RequestError: for the wrong number of axes.

    Source: Gao et al., A theory of multineuronal dimensionality (2017); the same value as
    deep-lyapunov's ``compute_participation_ratio``.

    >>> participation_ratio(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
    2.0
    """
    points = points_of(points)
    if points.ndim != 2:
        raise RequestError(f"points have shape {tuple(points.shape)}; give (points, parameters)")
    g = centred(as_float64(points)) if precomputed else gram(points)
    total = float(np.trace(g))
    if not np.isfinite(total) or total <= 0.0:
        return nan
    # Scaled first, so that the squares of tiny traces do not vanish.
    g = g / total
    return 1.0 / float(np.einsum("ij,ij->", g, g))


@dataclass(frozen=True)
class PathDimension:
    """The dimension of a set of points from the growth of its spanning tree.

    Attributes:
        value: 1/(1 − slope); no unit, 1 = a smooth curve, 2 = a random walk.
        slope: of ln tree length against ln number of points.
        residual: root mean square of the fit, in ln.
        reason: why there is no value, else "".
    """

    value: float
    slope: float
    residual: float
    reason: str = ""


FEWEST_POINTS: Final = 200
"""Points below which the growth of a spanning tree says too little about a dimension."""
_SIZES: Final = 9
"""Subsets of different size, from a fifth of the points to all of them."""


def path_dimension(
    points: Points, *, precomputed: bool = False, repeats: int = 3, seed: int = 0
) -> PathDimension:
    """Return the persistent-homology dimension of the snapshots of one training.

    Args:
        points: (n, P), snapshots; or, if ``precomputed``, their Gram matrix (n, n), any origin.
        precomputed: whether ``points`` is a Gram matrix.
        repeats: random subsets of each size.
        seed: of the subsets.

    Returns:
        `PathDimension`. Biased low from about five dimensions on: uniform cubes of 1, 2, 3, 5 and 8
        dimensions give 1.0, 2.0, 2.8, 4.5 and 6.9 from 1,000 points. ``too_few_points`` below 200,
        ``constant`` where points of a subset all coincide or the tree grows as fast as their
        number, ``diverged`` where a weight is not finite. Its link to generalisation is contested.

    Raises:
        RequestError: the wrong number of axes.

    Source: Birdal et al., arXiv 2111.13171, with α = 1; total persistence in degree 0 is the length
    of the minimum spanning tree.

    >>> line = np.linspace(0, 1, 400)[:, None]
    >>> round(path_dimension(line).value, 1)
    1.0
    """
    points = points_of(points)
    if points.ndim != 2:
        raise RequestError(f"points have shape {tuple(points.shape)}; give (points, parameters)")
    if len(points) < FEWEST_POINTS:
        return PathDimension(nan, nan, nan, TOO_FEW_POINTS)
    apart = distances_of_gram(as_float64(points)) if precomputed else distances(points)
    if not np.isfinite(apart).all():
        return PathDimension(nan, nan, nan, DIVERGED)
    generator, n = np.random.default_rng(seed), len(apart)
    sizes = np.linspace(n // 5, n, _SIZES).round().astype(int)
    lengths = []
    for size in sizes:
        drawn = (generator.choice(n, size, replace=False) for _ in range(repeats))
        lengths.append(np.mean([tree_edges(apart[np.ix_(p, p)]).sum() for p in drawn]))
    if min(lengths) <= 0:
        return PathDimension(nan, nan, nan, CONSTANT)
    x, y = np.log(sizes), np.log(lengths)
    slope, level = np.polyfit(x, y, 1)
    residual = float(np.sqrt(np.mean((y - slope * x - level) ** 2)))
    value = 1 / (1 - slope) if slope < 1 else nan
    return PathDimension(float(value), float(slope), residual, CONSTANT if slope >= 1 else "")


def distances_of_gram(g: Array) -> Array:
    """Return distances (n, n) between points of which the inner products are known.

    >>> distances_of_gram(np.array([[0.0, 0.0], [0.0, 9.0]]))
    array([[0., 3.],
           [3., 0.]])
    """
    return np.asarray(np.sqrt(np.maximum(squared_distances(g), 0.0)))
