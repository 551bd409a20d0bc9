"""Principal components of trajectories, through the Gram matrix of their points."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.arguments import as_float64, points_of, whole_number
from wingbeat.errors import RequestError
from wingbeat.metrics.gram import centred, gram
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.arguments import Points


_DENSE_POINTS: Final = 256
"""Above this many points a few eigenvalues come from Lanczos: 4 ms instead of 20 at 572."""


@dataclass(frozen=True)
class PCA:
    """Scores ``(n, k)`` in weight units and ``explained`` ``(k,)``, shares of the variance."""

    scores: Array
    explained: Array


def trajectory_pca(points: Points, k: int = 3, *, precomputed: bool = False) -> PCA:
    """Return the coordinates of points along their k leading principal components.

    Args:
        points: ``(n, P)``, for a run the T·N points of all snapshots and replicas; or, if
            ``precomputed``, their Gram matrix ``(n, n)`` with any origin.
        k: number of components. Those beyond the rank of the points are zero.
        precomputed: whether ``points`` is a Gram matrix.

    Returns:
        Scores, the largest in magnitude of each component positive, and the share of the
        variance that each explains, in [0, 1], falling. Shares are NaN for identical points,
        everything is NaN where a weight is not finite.

    Raises:
        RequestError: for k outside 1 … n or the wrong number of axes.

    Source: classical scaling, Gower, Biometrika 53 (1966) 325.

    >>> pca = trajectory_pca(np.array([[0.0, 0.0], [0.0, 3.0], [0.0, 6.0]]), 2)
    >>> pca.scores[:, 0].round(6).tolist(), pca.explained.round(6).tolist()
    ([3.0, 0.0, -3.0], [1.0, 0.0])
    """
    points = points_of(points)
    if points.ndim != 2:
        raise RequestError(f"points have shape {tuple(points.shape)}; give (points, parameters)")
    n, k = points.shape[0], whole_number(k, "k")
    if k > n:
        raise RequestError(f"k is {k}; {n} points allow 1 to {n} components")
    g = centred(as_float64(points)) if precomputed else gram(points)
    if not np.isfinite(g).all():
        return PCA(np.full((n, k), nan), np.full(k, nan))
    values, vectors = leading_eigenvectors(g, k)
    total = float(np.trace(g))
    return PCA(
        scores=oriented(vectors * np.sqrt(values)),
        explained=values / total if total > 0.0 else np.full(k, nan),
    )


def leading_eigenvectors(g: Array, k: int) -> tuple[Array, Array]:
    """Return the k largest eigenvalues, falling, clipped at 0, and their vectors ``(n, k)``.

    Eigenvalues below the rounding error of the matrix are set to exactly 0.

    >>> leading_eigenvectors(np.diag([1.0, 3.0, 2.0]), 2)[0]
    array([3., 2.])
    """
    n = g.shape[0]
    values, vectors = _eigen(np.asarray(g, dtype=np.float64), k)
    rounding = n * np.finfo(np.float64).eps * max(float(values[-1]), 0.0)
    values = np.where(values > rounding, values, 0.0)
    return values[::-1].copy(), vectors[:, ::-1].copy()


def _eigen(g: Array, k: int) -> tuple[Array, Array]:
    n = g.shape[0]
    if n > _DENSE_POINTS and 10 * k < n:
        from scipy.sparse.linalg import ArpackNoConvergence, eigsh  # late: for many points only

        # A fixed start makes the result repeatable.
        start = np.random.Generator(np.random.PCG64(0)).standard_normal((n,))
        try:
            values, vectors = eigsh(g, k, which="LA", v0=start)
        except ArpackNoConvergence:
            return _dense(g, k)
        order = np.argsort(values)
        return values[order], vectors[:, order]
    return _dense(g, k)


def _dense(g: Array, k: int) -> tuple[Array, Array]:
    from scipy.linalg import eigh  # late: a fifth of a second that only this needs

    n = g.shape[0]
    values, vectors = eigh(g, subset_by_index=[n - k, n - 1])
    return values, vectors


def oriented(scores: Array) -> Array:
    """Turn each column so that its entry of largest magnitude is positive.

    Of entries that are equally large up to rounding, the first decides.

    >>> oriented(np.array([[1.0], [-2.0]])).tolist()
    [[-1.0], [2.0]]
    """
    size = np.abs(scores)
    first = (size >= (1.0 - 1e-9) * size.max(axis=0)).argmax(axis=0)
    extreme = np.take_along_axis(scores, first[None], axis=0)
    return np.asarray(scores * np.where(extreme < 0.0, -1.0, 1.0) + 0.0)
