"""How far the features of training samples lie from those of held-out samples."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import numpy as np

from wingbeat.arguments import as_float64
from wingbeat.errors import CONSTANT, DIVERGED, TOO_FEW_SAMPLES, RequestError
from wingbeat.metrics.gram import moved_to
from wingbeat.typing import Array


@dataclass(frozen=True)
class FeatureGap:
    """The gap between two sets of features.

    Attributes:
        value: ``mmd2`` ÷ ``within``; 0 on average for equal distributions, may be negative.
        mmd2: unbiased estimate of the squared distance between the two means.
        within: half the mean squared distance within a set, the mean of both sets.
        reason: why there is no value, else "".
    """

    value: float
    mmd2: float
    within: float
    reason: str = ""


def feature_gap(train: Array, held_out: Array) -> FeatureGap:
    """Return the unbiased linear MMD² between two sets of features, in units of their own width.

    Args:
        train: features (n, units) of training samples.
        held_out: features (m, units) of samples the model has not seen.

    Returns:
        0 on average where both come from one distribution, above 0 where the model tells what it
        has seen from what it has not. ``too_few_samples`` below two samples a set, ``constant``
        where no feature varies, ``diverged`` where one is not finite.

    Raises:
        RequestError: the sets have different features.

    Source: maximum mean discrepancy, Gretton et al. (JMLR 13, 2012), with a linear kernel; the
    question is that of arXiv 2412.01476, the measure ours.

    >>> found = feature_gap(np.array([[0.0], [2.0]]), np.array([[4.0], [6.0]]))
    >>> found.mmd2, found.within, found.value
    (14.0, 2.0, 7.0)
    """
    train, held_out = as_float64(train, "train"), as_float64(held_out, "held_out")
    if train.ndim != 2 or held_out.ndim != 2 or train.shape[1] != held_out.shape[1]:
        raise RequestError(
            f"features have shapes {train.shape} and {held_out.shape}: give (samples, units) of "
            "the same units"
        )
    if min(len(train), len(held_out)) < 2:
        return FeatureGap(nan, nan, nan, TOO_FEW_SAMPLES)
    if not (np.isfinite(train).all() and np.isfinite(held_out).all()):
        return FeatureGap(nan, nan, nan, DIVERGED)
    with np.errstate(over="ignore", invalid="ignore"):
        apart = train.mean(axis=0) - held_out.mean(axis=0)
        spreads = [_spread(x) for x in (train, held_out)]
        within = float(np.mean(spreads))
        mmd2 = float(apart @ apart) - spreads[0] / len(train) - spreads[1] / len(held_out)
    if not np.isfinite(mmd2 + within):
        return FeatureGap(nan, nan, nan, DIVERGED)
    if within == 0.0:
        return FeatureGap(nan, mmd2, 0.0, CONSTANT)
    return FeatureGap(mmd2 / within, mmd2, within)


def _spread(x: Array) -> float:
    """Return the summed unbiased variance: half the mean squared distance of two samples."""
    away = moved_to(x, "mean")
    return float(np.einsum("nu,nu->", away, away)) / (len(x) - 1)
