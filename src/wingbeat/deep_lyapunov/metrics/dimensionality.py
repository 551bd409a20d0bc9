"""How many directions trajectories use; the P×P covariance is never formed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wingbeat import metrics
from wingbeat.deep_lyapunov.metrics.convergence import checked
from wingbeat.errors import RequestError
from wingbeat.typing import Array


def windows(length: int, window_size: int | None = None) -> Iterator[slice]:
    """Yield the windows of checkpoints over which the dimension is taken.

    The size is a quarter of the length, within 10 and 50, and the step half the size. A last
    window is added where the others leave checkpoints out. Windows longer than the whole are
    cut to it.

    >>> [(w.start, w.stop) for w in windows(11)]
    [(0, 10), (1, 11)]
    """
    size = min(50, max(10, length // 4)) if window_size is None else window_size
    if size < 1:
        raise RequestError(f"window_size is {size}; use at least 2 checkpoints")
    size = min(size, length)
    starts = list(range(0, length - size + 1, max(1, size // 2)))
    if starts[-1] + size < length:
        starts.append(length - size)
    yield from (slice(start, start + size) for start in starts)


def compute_effective_dimensionality(
    trajectories: NDArray[Any], window_size: int | None = None
) -> Array:
    """Return the participation ratio of the points in each window (see `windows`).

    ``(windows,)``; as `compute_participation_ratio`.

    >>> compute_effective_dimensionality(np.arange(12.0).reshape(4, 1, 3)).round(6)
    array([1.])
    """
    points = checked(trajectories)
    found = [
        metrics.participation_ratio(points[w].reshape(-1, points.shape[2]))
        for w in windows(points.shape[0], window_size)
    ]
    return np.array(found)


def compute_participation_ratio(data: NDArray[Any]) -> float:
    """Return (Σμ)² ÷ Σμ² over the eigenvalues μ of the covariance of the rows ``(n, P)``.

    As `wingbeat.metrics.participation_ratio`: NaN where deep-lyapunov gives 1.0 for want of a
    value or of memory.

    >>> compute_participation_ratio(np.eye(4)).__round__(6)
    3.0
    """
    return metrics.participation_ratio(np.asarray(data))


def compute_cumulative_variance(explained_variance_ratio: ArrayLike) -> Array:
    """Return the running sum of shares of the variance.

    >>> compute_cumulative_variance([0.5, 0.25])
    array([0.5 , 0.75])
    """
    return np.cumsum(np.asarray(explained_variance_ratio, dtype=np.float64))


def find_intrinsic_dimension(explained_variance_ratio: ArrayLike, threshold: float = 0.95) -> int:
    """Return how many components reach a share of the variance.

    Args:
        explained_variance_ratio: ``(k,)`` shares, falling.
        threshold: share to reach, in (0, 1].

    Returns:
        From 1 to k; k also where all k together stay below the threshold.

    Raises:
        RequestError: no component, a share that is not finite, or a threshold out of range.

    >>> find_intrinsic_dimension([0.5, 0.3, 0.15, 0.05], 0.95)
    3
    """
    running = compute_cumulative_variance(explained_variance_ratio)
    if not 0.0 < threshold <= 1.0:
        raise RequestError(f"threshold is {threshold}; give a share above 0 and at most 1")
    if running.size == 0 or not np.isfinite(running).all():
        raise RequestError("the shares of the variance are empty or not finite")
    # Sums such as 0.5 + 0.3 + 0.15 fall short of 0.95 in the last bit.
    reached = np.flatnonzero(running >= threshold - 1e-12)
    return int(reached[0]) + 1 if reached.size else int(running.size)


def compute_local_dimensionality(trajectory: NDArray[Any], k_neighbors: int = 10) -> Array:
    """Return the participation ratio of the checkpoints around each one of a trajectory.

    Args:
        trajectory: ``(checkpoints, P)``, one trajectory.
        k_neighbors: about how many neighbors in time count, half on each side; at least 1.

    >>> compute_local_dimensionality(np.arange(8.0).reshape(4, 2), 2).round(6)
    array([1., 1., 1., 1.])
    """
    points = np.asarray(trajectory)
    if points.ndim != 2:
        raise RequestError(f"trajectory has shape {points.shape}; give (checkpoints, parameters)")
    if k_neighbors < 1:
        raise RequestError(f"k_neighbors is {k_neighbors}; use at least 1")
    t = points.shape[0]
    half = max(1, min(k_neighbors, t - 1) // 2)
    near = (slice(max(0, i - half), i + half + 1) for i in range(t))
    return np.array([metrics.participation_ratio(points[where]) for where in near])
