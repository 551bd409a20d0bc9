"""Features of two models on the same samples, checked and centred for a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wingbeat.arguments import as_float64, points_of
from wingbeat.errors import CONSTANT, DIVERGED, TOO_FEW_SAMPLES, RequestError
from wingbeat.metrics.gram import moved_to
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.arguments import Points


def feature_pair(x: Points, y: Points) -> tuple[Array, Array]:
    """Return two feature matrices (samples, features) in float64; their widths may differ.

    Raises:
        RequestError: one is no matrix, has no feature, or they have different samples.

    >>> [m.shape for m in feature_pair(np.zeros((3, 1)), np.zeros((3, 2)))]
    [(3, 1), (3, 2)]
    """
    x, y = _matrix(x), _matrix(y)
    if x.shape[0] != y.shape[0]:
        raise RequestError(
            f"features have shapes {tuple(x.shape)} and {tuple(y.shape)}; give both models the "
            "same samples in the same order"
        )
    return as_float64(x), as_float64(y)


def feature_matrix(x: Points) -> Array:
    """Return one feature matrix (samples, features) in float64.

    Raises:
        RequestError: it is no matrix, or has no feature.

    >>> feature_matrix(np.ones((1, 2), np.float32))
    array([[1., 1.]])
    """
    return as_float64(_matrix(x))


def _matrix(x: Points) -> Points:
    x = points_of(x, "features")
    if len(x.shape) != 2 or x.shape[1] == 0:
        raise RequestError(f"features have shape {tuple(x.shape)}; give (samples, features)")
    return x


def centred_features(x: Array) -> Array:
    """Return (samples, features) less each feature's mean; a constant one is exactly 0.

    >>> centred_features(np.array([[0.1, 1.0], [0.1, 3.0]]))
    array([[ 0., -1.],
           [ 0.,  1.]])
    """
    if not len(x):
        return x
    with np.errstate(invalid="ignore", over="ignore"):
        return moved_to(x, "mean")


def rescaled(x: Array) -> Array:
    """Divide features by a power of two, so that no product of four of them overflows.

    >>> rescaled(np.array([[3.0], [-4.0]]))
    array([[ 0.375],
           [-0.5  ]])
    """
    top = float(np.max(np.abs(x), initial=0.0))
    if not np.isfinite(top) or top == 0.0:
        return x
    return np.asarray(np.ldexp(x, -int(np.frexp(top)[1])))


def why_undefined(x: Points, y: Points, least: int) -> str:
    """Return why a comparison of two feature matrices has no value, "" if it has one.

    Args:
        x: (samples, features).
        y: (samples, features) of the same samples.
        least: fewest samples that the estimator needs.

    Returns:
        ``too_few_samples``, ``diverged`` (a feature is not finite), ``constant`` (a dead layer: no
        feature of one model varies over the samples) or "".

    >>> why_undefined(np.ones((5, 2)), np.eye(5), 2)
    'constant'
    """
    first, second = feature_pair(x, y)
    if len(first) < least:
        return TOO_FEW_SAMPLES
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return DIVERGED
    dead = any(not (features != features[0]).any() for features in (first, second))
    return CONSTANT if dead else ""
