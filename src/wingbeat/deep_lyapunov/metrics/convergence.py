"""Do trajectories come together? Spread, ratio, principal components."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wingbeat import metrics
from wingbeat.errors import RequestError

Array = NDArray[np.float64]

logger = logging.getLogger("deep_lyapunov.metrics.convergence")


def compute_convergence_ratio(trajectories: NDArray[Any], n_components: int = 3) -> float:
    """Return the last spread divided by the first, in full weight space.

    Args:
        trajectories: ``(checkpoints, N, P)``.
        n_components: checked, otherwise without effect. A projection to three components
            discards most of the perturbation; `legacy_convergence_ratio` still makes it.

    Returns:
        A float ≥ 0, no unit; < 1 = they come closer, > 1 = they part. NaN where the first
        spread is 0, for one trajectory or one checkpoint, and where a weight is not finite.

    Raises:
        RequestError: for the wrong number of axes or n_components below 1.

    Source: `wingbeat.metrics.convergence_ratio`.

    >>> compute_convergence_ratio(np.array([[[0.0], [2.0]], [[50.0], [51.0]]]))
    0.5
    """
    points = _trajectories(trajectories, n_components)
    ratio = metrics.convergence_ratio(points)
    logger.debug("convergence ratio of %s points: %g", points.shape, ratio)
    return ratio


def compute_spread_evolution(trajectories: NDArray[Any], n_components: int = 3) -> Array:
    """Return √(Σ_p Var_i w_ip) at each checkpoint, in full weight space.

    Args and errors as in `compute_convergence_ratio`.

    Returns:
        ``(checkpoints,)``, unit weight, ≥ 0, 0 = identical (exactly). NaN for one trajectory.

    Source: `wingbeat.metrics.spread`.

    >>> compute_spread_evolution(np.array([[[0.0], [2.0]], [[50.0], [51.0]]]))
    array([1. , 0.5])
    """
    return metrics.spread(_trajectories(trajectories, n_components))


def legacy_convergence_ratio(trajectories: NDArray[Any], n_components: int = 3) -> float:
    """Return the number that deep-lyapunov 0.1.2 calls the convergence ratio.

    Only for comparison: it mixes in the path that all trajectories share.

    Args and errors as in `compute_convergence_ratio`; here n_components is used.

    Source: `wingbeat.metrics.legacy_ratio`.

    >>> path = np.array([[[0.0, 1], [0, -1], [0, 1]], [[100, 0.5], [100, -0.5], [100, 0.5]]])
    >>> round(legacy_convergence_ratio(path), 2), compute_convergence_ratio(path)
    (1.0, 0.5)
    """
    return metrics.legacy_ratio(_trajectories(trajectories, n_components), n_components)


def legacy_spread_evolution(trajectories: NDArray[Any], n_components: int = 3) -> Array:
    """Return the spread in at most N − 1 principal components, as deep-lyapunov 0.1.2 does.

    Args and errors as in `compute_convergence_ratio`; here n_components is used.

    Returns:
        ``(checkpoints,)``, unit weight, ≥ 0.

    Source: `wingbeat.metrics.projected_spread`.

    >>> legacy_spread_evolution(np.array([[[0.0], [2.0]], [[50.0], [51.0]]])).round(6)
    array([1. , 0.5])
    """
    points = _trajectories(trajectories, n_components)
    return metrics.projected_spread(points, min(n_components, points.shape[2])).spread


def project_to_pca(trajectories: NDArray[Any], n_components: int = 10) -> tuple[Array, Array]:
    """Return all points in their common principal components.

    Args:
        trajectories: ``(checkpoints, N, P)``.
        n_components: at most this many; no more than there are points or parameters.

    Returns:
        Scores ``(checkpoints, N, k)`` in units of weight, and ``(k,)`` shares of the variance,
        falling, in [0, 1]. NaN where a weight is not finite. The same input gives the same
        bits; the entry of largest magnitude in each component is positive.

    Raises:
        RequestError: for the wrong number of axes or n_components below 1.

    Source: `wingbeat.metrics.trajectory_pca`.

    >>> scores, shares = project_to_pca(np.array([[[0.0, 0], [0, 1]], [[0, 2], [0, 3]]]), 1)
    >>> scores.shape, shares.round(6)
    ((2, 2, 1), array([1.]))
    """
    points = _trajectories(trajectories, n_components)
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
        target_length: number of checkpoints wanted, at least 1; None returns the input.

    Returns:
        ``(target_length, N, P)``; the first and last checkpoint stay.

    Raises:
        RequestError: for the wrong number of axes or a length below 1.

    >>> interpolate_trajectories(np.array([[[0.0]], [[4.0]]]), 3).ravel()
    array([0., 2., 4.])
    """
    points = _trajectories(trajectories, 1)
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

    Raises:
        RequestError: for the wrong number of axes.

    >>> compute_manifold_center(np.array([[[0.0, 1.0], [2.0, 3.0]]]))
    array([[1., 2.]])
    """
    return np.asarray(_trajectories(trajectories, 1).mean(axis=1, dtype=np.float64))


def compute_pairwise_distances(points: NDArray[Any]) -> Array:
    """Return Euclidean distances between all points.

    Args:
        points: ``(n, P)``.

    Returns:
        ``(n, n)`` float64, symmetric, 0 = identical (exactly on the diagonal).

    Raises:
        RequestError: for the wrong number of axes.

    Source: `wingbeat.metrics.squared_distances`.

    >>> compute_pairwise_distances(np.array([[0, 0], [3, 4]]))
    array([[0., 5.],
           [5., 0.]])
    """
    array = np.asarray(points)
    if array.ndim != 2:
        raise RequestError(f"points have shape {array.shape}; give (points, parameters)")
    return np.asarray(np.sqrt(metrics.squared_distances(metrics.gram(array, centre="first"))))


def _trajectories(trajectories: NDArray[Any], n_components: int) -> NDArray[Any]:
    points = np.asarray(trajectories)
    if points.ndim != 3 or 0 in points.shape:
        raise RequestError(
            f"trajectories have shape {points.shape}; give (checkpoints, trajectories, parameters)"
        )
    if n_components < 1:
        raise RequestError(f"n_components is {n_components}; ask for at least one")
    return points
