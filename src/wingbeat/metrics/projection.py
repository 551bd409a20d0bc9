"""The spread seen in a few principal components, beside the one in full weight space."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.arguments import as_float64, points_of, whole_number
from wingbeat.errors import RequestError
from wingbeat.metrics.blocks import blocks
from wingbeat.metrics.gram import gram, moved_to
from wingbeat.metrics.pca import leading_eigenvectors, trajectory_pca
from wingbeat.metrics.spread import ratio_of, spread, spread_from_gram
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wingbeat.arguments import Points


@dataclass(frozen=True)
class ProjectedSpread:
    """The spread of points projected to a few principal components.

    Attributes:
        spread: ``(T,)``, unit weight, ≥ 0.
        kept: ``(T,)``, projected ÷ full summed variance at each snapshot, in [0, 1]; NaN where
            the full spread is 0.
        ratio: last ÷ first of ``spread``; NaN if the first is 0. It can lie on the other side
            of 1 than `convergence_ratio`: read it together with ``kept``.
    """

    spread: Array
    kept: Array
    ratio: float


def projected_spread(points: Points, k: int = 3) -> ProjectedSpread:
    """Return the spread seen in the first k principal components of all points together.

    Args:
        points: ``(T, N, P)``.
        k: number of components; at most N − 1 are used, as in deep-lyapunov.

    Raises:
        RequestError: for the wrong number of axes or k below 1.

    Source: deep-lyapunov 0.1.2, ``compute_spread_evolution``.

    >>> p = projected_spread(np.array([[[0.0], [1.0]], [[5.0], [5.5]]]))
    >>> round(p.ratio, 6), p.kept.round(6).tolist()
    (0.5, [1.0, 1.0])
    """
    points = points_of(points)
    _, n = _run_shape(points)
    g = gram(_flat_blocks(points))
    return projected_spread_from_gram(g, n, k, full=spread(points))


def projected_spread_from_gram(
    g: Array, replicas: int, k: int = 3, *, full: Array | None = None
) -> ProjectedSpread:
    """Return `projected_spread` from the mean-centred Gram matrix of all T·N points.

    Args:
        g: ``(T·N, T·N)``, snapshots outermost, the origin at the mean (``centre="mean"``).
        replicas: N.
        k: number of components, at most N − 1.
        full: ``(T,)`` full spreads, if known more precisely than the Gram matrix gives them.

    >>> p = projected_spread_from_gram(gram(np.array([[0.0], [1.0], [5.0], [5.5]])), 2)
    >>> round(p.ratio, 6)
    0.5
    """
    g = as_float64(g, "the Gram matrix")
    if g.ndim != 2 or g.shape[0] != g.shape[1]:
        raise RequestError(f"the Gram matrix has shape {g.shape}; give (points, points)")
    t = _snapshots(len(g), replicas)
    used = min(whole_number(k, "k"), max(replicas - 1, 1))
    if full is None:
        full = spread_from_gram(g.reshape(t, replicas, t, replicas)[range(t), :, range(t), :])
    pca = trajectory_pca(g, used, precomputed=True)
    return projected_spread_from_scores(pca.scores, replicas, full)


def projected_spread_from_scores(scores: Array, replicas: int, full: Array) -> ProjectedSpread:
    """Return `projected_spread` from principal component scores that are already known.

    Args:
        scores: ``(T·N, k)`` of all points, as `trajectory_pca` gives them.
        replicas: N.
        full: ``(T,)`` full spreads, as `spread` gives them.

    >>> pca = trajectory_pca(np.array([[0.0], [1.0], [5.0], [5.5]]), 1)
    >>> round(projected_spread_from_scores(pca.scores, 2, np.array([0.5, 0.25])).ratio, 6)
    0.5
    """
    scores, full = as_float64(scores, "scores"), as_float64(full, "full")
    if scores.ndim != 2:
        raise RequestError(f"scores have shape {scores.shape}; give (points, components)")
    t = _snapshots(len(scores), replicas)
    if full.shape != (t,):
        raise RequestError(f"full has shape {full.shape}; give ({t},), one for each snapshot")
    grouped = scores.reshape(t, replicas, -1)
    # Where the full spread is exactly 0, what the scores still show is rounding.
    seen = np.where(full == 0.0, 0.0, spread(grouped))
    with np.errstate(invalid="ignore", divide="ignore"):
        kept = np.where(full > 0.0, np.minimum((seen / full) ** 2, 1.0), nan)
    return ProjectedSpread(seen, kept, ratio_of(float(seen[0]), float(seen[-1])) if t > 1 else nan)


def legacy_ratio(points: Points, k: int = 3) -> float:
    """Return what deep-lyapunov 0.1.2 calls the convergence ratio, for comparison only.

    The standard deviation of all N·k scores of the last snapshot, flattened, over that of the
    first: one scalar mean is taken over replicas *and* components, so the path that all
    replicas share leaks in and the number says little about their spread. It depends on the
    signs of the components, which follow scikit-learn: the largest loading is positive.

    Args:
        points: ``(T, N, P)``.
        k: number of components, at most N − 1 and P.

    Returns:
        A float ≥ 0, no unit; as coded there, 1 or inf where the first is at most 1e-10.
        NaN below two replicas or where a weight is not finite.

    >>> path = np.array([0.0, 100.0])[:, None, None] * np.array([1.0, 0.0])
    >>> apart = np.array([1.0, 0.5])[:, None, None] * np.array([[[0.0, 1.0], [0.0, -1.0]]])
    >>> ratio_of(*spread(path + apart))
    0.5
    >>> round(legacy_ratio(np.repeat(path, 3, axis=1) + apart[:, [0, 1, 1]], 2), 2)
    1.0
    """
    points, k = points_of(points), whole_number(k, "k")
    t, n = _run_shape(points)
    g = gram(_flat_blocks(points))
    if n < 2 or not np.isfinite(g).all():
        return nan
    values, vectors = leading_eigenvectors(g, min(k, n - 1, points.shape[2]))
    scores = vectors * np.sqrt(values) * _loading_signs(points, vectors)
    ends = scores.reshape(t, n, -1)[[0, -1]].reshape(2, -1).std(axis=1)
    if ends[0] <= 1e-10:
        return 1.0 if ends[1] <= 1e-10 else float("inf")
    return float(ends[1] / ends[0])


def _flat_blocks(points: Points) -> Iterator[Array]:
    """Yield ``(T·N, p)`` blocks; reshaping the whole would copy points that are a slice."""
    for block in blocks(points):
        yield block.reshape(-1, block.shape[-1])


def _loading_signs(points: Points, vectors: Array) -> Array:
    """Return the sign of the largest loading of each component, ``(k,)``."""
    extreme = np.zeros(vectors.shape[1])
    for block in _flat_blocks(points):
        loadings = vectors.T @ moved_to(block, "mean")
        places = np.abs(loadings).argmax(axis=1)[:, None]
        found = np.take_along_axis(loadings, places, axis=1)[:, 0]
        extreme = np.where(np.abs(found) > np.abs(extreme), found, extreme)
    return np.where(extreme < 0.0, -1.0, 1.0)


def _snapshots(points: int, replicas: int) -> int:
    if not points or points % whole_number(replicas, "replicas"):
        raise RequestError(f"{points} points cannot be snapshots of {replicas} replicas")
    return points // replicas


def _run_shape(points: Points) -> tuple[int, int]:
    if points.ndim != 3:
        raise RequestError(
            f"points have shape {tuple(points.shape)}; give (snapshots, replicas, parameters)"
        )
    return points.shape[0], points.shape[1]
