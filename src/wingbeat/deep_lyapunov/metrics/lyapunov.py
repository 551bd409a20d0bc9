"""How fast trajectories part, as two-point values per epoch."""

from __future__ import annotations

from math import nan
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wingbeat import metrics
from wingbeat.deep_lyapunov.metrics.convergence import checked, legacy_spread_evolution
from wingbeat.errors import RequestError
from wingbeat.typing import Array


def compute_lyapunov_exponent(spread_evolution: ArrayLike, n_epochs: float) -> float:
    """Return ln(last spread ÷ first) ÷ n_epochs, in 1/epoch; > 0 = parting, < 0 = merging.

    NaN for one checkpoint and where either spread is 0 or not finite. With n_epochs 0 it is per
    interval; a negative number is refused.

    >>> round(compute_lyapunov_exponent([1.0, 2.0, 4.0], 2), 6)
    0.693147
    """
    spread = _series(spread_evolution)
    if not n_epochs >= 0:
        raise RequestError(f"n_epochs is {n_epochs}; give a number above 0")
    if spread.size < 2:
        return nan
    ends = spread[[0, -1]]
    return float(metrics.local_lyapunov([0.0, float(n_epochs or spread.size - 1)], ends)[0])


def compute_local_lyapunov(spread_evolution: ArrayLike) -> Array:
    """Return ln(spread(t+1) ÷ spread(t)) for neighboring checkpoints.

    As `wingbeat.metrics.local_lyapunov`; for one checkpoint ``(1,)`` holding NaN, so that the
    length is that of deep-lyapunov.

    >>> compute_local_lyapunov([1.0, np.e, np.e])
    array([1., 0.])
    """
    spread = _series(spread_evolution)
    if spread.size < 2:
        return np.array([nan])
    return metrics.local_lyapunov(np.arange(spread.size), spread)


def compute_lyapunov_from_trajectories(
    trajectories: NDArray[Any], reference_idx: int = 0
) -> tuple[float, Array]:
    """Return growth of the mean distance to one of the trajectories, in full weight space.

    The two-point value per checkpoint interval, and the local values ``(checkpoints − 1,)``; NaN
    where there is no other trajectory or a distance is 0.

    >>> whole, each = compute_lyapunov_from_trajectories(np.array([[[0.0], [1]], [[0], [np.e]]]))
    >>> whole, each
    (1.0, array([1.]))
    """
    points = checked(trajectories)
    t, n, _ = points.shape
    if not -n <= reference_idx < n:
        raise RequestError(f"reference_idx is {reference_idx}; there are {n} trajectories")
    if n < 2:
        return nan, np.full(max(t - 1, 1), nan)
    apart = metrics.l2(points, points[:, reference_idx][:, None])
    mean = np.delete(apart, reference_idx, axis=1).mean(axis=1)
    return compute_lyapunov_exponent(mean, 0), compute_local_lyapunov(mean)


def legacy_lyapunov_exponent(trajectories: NDArray[Any], n_components: int = 3) -> float:
    """Return what deep-lyapunov 0.1.2 reports as ``lyapunov``: of the projected spread.

    Only for comparison: its sign and that of `legacy_convergence_ratio` are unrelated.

    >>> round(legacy_lyapunov_exponent(np.array([[[0.0], [1.0]], [[5.0], [5.5]]])), 6)
    -0.693147
    """
    return compute_lyapunov_exponent(legacy_spread_evolution(trajectories, n_components), 0)


def _series(values: ArrayLike) -> Array:
    series = np.asarray(values, dtype=np.float64)
    if series.ndim != 1:
        raise RequestError(f"spread_evolution has shape {series.shape}; give (checkpoints,)")
    return series
