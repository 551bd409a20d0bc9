"""Do trajectories come together? Spread, ratio, principal components.

Trajectories are ``(checkpoints, N, P)``. Every function raises `RequestError` for another number
of axes and for n_components below 1.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wingbeat import metrics
from wingbeat.errors import RequestError
from wingbeat.typing import Array

logger = logging.getLogger("deep_lyapunov.metrics.convergence")


def checked(trajectories: NDArray[Any], n_components: int = 1) -> NDArray[Any]:
    """Return the array, if it is one of trajectories, and refuse it otherwise."""
    points = np.asarray(trajectories)
    if points.ndim != 3 or 0 in points.shape:
        raise RequestError(
            f"trajectories have shape {points.shape}; give (checkpoints, trajectories, parameters)"
        )
    if n_components < 1:
        raise RequestError(f"n_components is {n_components}; ask for at least one")
    return points


def compute_convergence_ratio(trajectories: NDArray[Any], n_components: int = 3) -> float:
    """Return the last spread divided by the first, as `wingbeat.metrics.convergence_ratio`.

    n_components has no effect: a projection to three components discards most of the perturbation;
    `legacy_convergence_ratio` still makes it. NaN where a ratio does not exist.

    >>> compute_convergence_ratio(np.array([[[0.0], [2.0]], [[50.0], [51.0]]]))
    0.5
    """
    points = checked(trajectories, n_components)
    ratio = metrics.convergence_ratio(points)
    logger.debug("convergence ratio of %s points: %g", points.shape, ratio)
    return ratio


def compute_spread_evolution(trajectories: NDArray[Any], n_components: int = 3) -> Array:
    """Return the spread ``(checkpoints,)`` of all weights, as `wingbeat.metrics.spread`.

    n_components has no effect.

    >>> compute_spread_evolution(np.array([[[0.0], [2.0]], [[50.0], [51.0]]]))
    array([1. , 0.5])
    """
    return metrics.spread(checked(trajectories, n_components))


def legacy_convergence_ratio(trajectories: NDArray[Any], n_components: int = 3) -> float:
    """Return the number that deep-lyapunov 0.1.2 calls the convergence ratio.

    Only for comparison: it mixes in the path that all trajectories share. As
    `wingbeat.metrics.legacy_ratio`.

    >>> path = np.array([[[0.0, 1], [0, -1], [0, 1]], [[100, 0.5], [100, -0.5], [100, 0.5]]])
    >>> round(legacy_convergence_ratio(path), 2), compute_convergence_ratio(path)
    (1.0, 0.5)
    """
    return metrics.legacy_ratio(checked(trajectories, n_components), n_components)


def legacy_spread_evolution(trajectories: NDArray[Any], n_components: int = 3) -> Array:
    """Return the spread in at most N − 1 principal components, as deep-lyapunov 0.1.2 does.

    As `wingbeat.metrics.projected_spread`.

    >>> legacy_spread_evolution(np.array([[[0.0], [2.0]], [[50.0], [51.0]]])).round(6)
    array([1. , 0.5])
    """
    points = checked(trajectories, n_components)
    return metrics.projected_spread(points, min(n_components, points.shape[2])).spread


def project_to_pca(trajectories: NDArray[Any], n_components: int = 10) -> tuple[Array, Array]:
    """Return all points in their common components, as `wingbeat.metrics.trajectory_pca`.

    Scores ``(checkpoints, N, k)`` and ``(k,)`` shares of the variance; k is at most n_components,
    the number of points and P.

    >>> scores, shares = project_to_pca(np.array([[[0.0, 0], [0, 1]], [[0, 2], [0, 3]]]), 1)
    >>> scores.shape, shares.round(6)
    ((2, 2, 1), array([1.]))
    """
    points = checked(trajectories, n_components)
    t, n, p = points.shape
    k = min(n_components, t * n, p)
    pca = metrics.trajectory_pca(points.reshape(t * n, p), k)
    return pca.scores.reshape(t, n, k), pca.explained


def interpolate_trajectories(
    trajectories: NDArray[Any], target_length: int | None = None
) -> NDArray[Any]:
    """Return trajectories resampled in time by linear interpolation.

    Args:
        trajectories: ``(checkpoints, N, P)``.
        target_length: number of checkpoints wanted, at least 1; None returns the input. The
            first and last checkpoint stay.

    >>> interpolate_trajectories(np.array([[[0.0]], [[4.0]]]), 3).ravel()
    array([0., 2., 4.])
    """
    points = checked(trajectories)
    length = points.shape[0]
    if target_length is None or target_length == length:
        return points
    if target_length < 1:
        raise RequestError(f"target_length is {target_length}; ask for at least one checkpoint")
    place = np.linspace(0.0, length - 1.0, target_length)
    left = np.minimum(place.astype(np.int64), max(length - 2, 0))
    share = (place - left)[:, None, None]
    right = np.minimum(left + 1, length - 1)
    return np.asarray(points[left] * (1.0 - share) + points[right] * share)


def compute_manifold_center(trajectories: NDArray[Any]) -> Array:
    """Return the mean over trajectories at each checkpoint, ``(checkpoints, P)``, in float64.

    >>> compute_manifold_center(np.array([[[0.0, 1.0], [2.0, 3.0]]]))
    array([[1., 2.]])
    """
    return np.asarray(checked(trajectories).mean(axis=1, dtype=np.float64))


def compute_pairwise_distances(points: NDArray[Any]) -> Array:
    """Return Euclidean distances ``(n, n)`` between points ``(n, P)``, in float64.

    As `wingbeat.metrics.squared_distances`.

    >>> compute_pairwise_distances(np.array([[0, 0], [3, 4]]))
    array([[0., 5.],
           [5., 0.]])
    """
    array = np.asarray(points)
    if array.ndim != 2:
        raise RequestError(f"points have shape {array.shape}; give (points, parameters)")
    return np.asarray(np.sqrt(metrics.squared_distances(metrics.gram(array, centre="first"))))
