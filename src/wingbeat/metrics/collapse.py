"""Neural collapse: how far the features of a class have shrunk to a corner of a simplex."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.arguments import as_float64
from wingbeat.errors import CONSTANT, DIVERGED, TOO_FEW_SAMPLES, RequestError
from wingbeat.metrics.features import rescaled
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Collapse:
    """How far the last features have collapsed; all are 0 at full collapse.

    Attributes:
        nc1: tr(Σ_W Σ_B⁺) ÷ K: spread within the classes in units of that between them.
        nc2_norm: standard deviation ÷ mean of the norms of the centred class means.
        nc2_angle: mean |cosine of two centred class means + 1/(K − 1)|.
        nc3: ‖W/‖W‖ − M/‖M‖‖, between the classifier's rows and the class means; NaN without W.
        reason: why there is no value, else "".
    """

    nc1: float
    nc2_norm: float
    nc2_angle: float
    nc3: float
    reason: str = ""

    @classmethod
    def undefined(cls, reason: str) -> Collapse:
        """Return what has no value, for one of the reasons in `wingbeat.errors`."""
        return cls(nan, nan, nan, nan, reason)


def neural_collapse(
    features: Array, labels: NDArray[np.int64], weights: Array | None = None
) -> Collapse:
    """Return the measures of neural collapse of the features before the classifier.

    Args:
        features: (samples, units), the input of the last linear layer.
        labels: class of each sample, whole numbers.
        weights: (classes, units), rows in the order of the sorted labels; None leaves out NC3.

    Returns:
        `Collapse`; NC1 to NC3 in [0, ∞), 0 = collapsed. The pseudo-inverse is taken on the leading
        K − 1 eigenvalues of the covariance of the class means (all, in fewer dimensions), not by a
        cut-off. ``too_few_samples`` with fewer than two classes or two samples of a class,
        ``constant`` where class means coincide in one of these directions, ``diverged`` where a
        feature is not finite.

    Raises:
        RequestError: shapes that do not fit.

    Source: Papyan, Han and Donoho, arXiv 2008.08186.

    >>> corners = np.array([[1.0, 0.0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)]])
    >>> found = neural_collapse(np.repeat(corners, 2, axis=0), np.repeat([0, 1, 2], 2), corners)
    >>> found.nc1 < 1e-30, found.nc2_angle < 1e-15, found.nc3 < 1e-15
    (True, True, True)
    """
    features, labels = as_float64(features, "features"), np.asarray(labels)
    weights = None if weights is None else as_float64(weights, "weights")
    classes, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    _check(features, labels, weights, len(classes))
    if len(classes) < 2 or counts.min() < 2:
        return Collapse.undefined(TOO_FEW_SAMPLES)
    if not np.isfinite(features).all() or not (weights is None or np.isfinite(weights).all()):
        return Collapse.undefined(DIVERGED)
    features = rescaled(features)  # all four measures are free of scale
    means = np.stack([features[place == c].mean(axis=0) for c in range(len(classes))])
    away = features - means[place]
    centred = means - means.mean(axis=0)
    norms = np.linalg.norm(centred, axis=1)
    if not (norms > 0).all():
        return Collapse.undefined(CONSTANT)
    nc1 = _nc1(away, place, centred)
    if not np.isfinite(nc1):
        return Collapse.undefined(CONSTANT)
    return Collapse(nc1, float(norms.std() / norms.mean()), _angle(centred / norms[:, None]),
                    _nc3(centred, weights))  # fmt: skip


def _check(features: Array, labels: NDArray[np.int64], weights: Array | None, classes: int) -> None:
    if features.ndim != 2 or len(features) != len(labels):
        raise RequestError(
            f"features have shape {features.shape} and there are {len(labels)} labels: give "
            "(samples, units) and one label a sample"
        )
    if weights is not None and weights.shape != (classes, features.shape[1]):
        raise RequestError(
            f"weights have shape {weights.shape}: give ({classes}, {features.shape[1]}), a row for "
            "each class that occurs"
        )


def _nc1(away: Array, place: NDArray[np.intp], means: Array) -> float:
    """Return tr(Σ_W Σ_B⁺)/K, every class with the same weight."""
    classes, units = means.shape
    _, values, directions = np.linalg.svd(means / np.sqrt(classes), full_matrices=False)
    kept = min(classes - 1, units)
    along = (away @ directions[:kept].T) ** 2
    within = np.stack([along[place == c].mean(axis=0) for c in range(classes)]).mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return float(np.sum(within / values[:kept] ** 2) / classes)


def _angle(unit: Array) -> float:
    classes = len(unit)
    cosines = (unit @ unit.T)[np.triu_indices(classes, 1)]
    return float(np.mean(np.abs(cosines + 1.0 / (classes - 1))))


def _nc3(means: Array, weights: Array | None) -> float:
    if weights is None:
        return nan
    norm = np.linalg.norm(weights)
    return float(np.linalg.norm(weights / norm - means / np.linalg.norm(means))) if norm else nan
