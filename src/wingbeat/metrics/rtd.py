"""Representation topology divergence: do two representations cluster the same samples alike?"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.metrics.features import feature_pair
from wingbeat.metrics.persistence import persistence, total_persistence
from wingbeat.metrics.topology import distances, tree_edges
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.arguments import Points

SCALE = 0.9
"""Quantile of all entries of a matrix of distances, the diagonal too, that it is divided by."""


def rtd_lite(x: Points, y: Points) -> float:
    """Return how much shorter a spanning tree gets when it may use the shorter of two distances.

    Args:
        x: features (samples, units) of one model.
        y: features of the same samples in another; the widths may differ.

    Returns:
        The mean over both orders of MST(r₁) − MST(min(r₁, r₂)), with distances r in units of their
        own 0.9 quantile: in [0, ∞), 0 = the same clusters (exactly, for equal features); unchanged
        by rotation, shift and one factor. It bounds `rtd` from below. NaN where that quantile is 0
        (most samples coincide), for fewer than two samples, or where a feature is not finite.

    Raises:
        RequestError: shapes that do not fit.

    Source: RTD-Lite, arXiv 2503.11910.

    >>> x = np.array([[0.0], [1.0], [10.0], [11.0]])
    >>> rtd_lite(x, 5 - 2 * x), rtd_lite(x, np.array([[0.0], [10.0], [1.0], [11.0]])) > 0.5
    (0.0, True)
    """
    return rtd_lite_of(*(ScaledCloud.of(features) for features in feature_pair(x, y)))


@dataclass(frozen=True)
class ScaledCloud:
    """Distances of a cloud in units of their own 0.9 quantile, and the length of their tree.

    For a cloud that is compared several times. ``tree`` is NaN where that quantile is 0, for fewer
    than two points, or where one is not finite.
    """

    apart: Array
    tree: float

    @classmethod
    def of(cls, features: Points) -> ScaledCloud:
        """Return the cloud of features (samples, units).

        >>> ScaledCloud.of(np.array([[0.0], [2.0]])).tree
        1.0
        """
        apart = distances(features)
        scale = float(np.quantile(apart, SCALE)) if apart.size else 0.0
        if not (np.isfinite(scale) and scale > 0) or len(apart) < 2:
            return cls(apart, nan)
        return cls(apart / scale, float(tree_edges(apart / scale).sum()))


def rtd_lite_of(first: ScaledCloud, second: ScaledCloud) -> float:
    """Return `rtd_lite` of two clouds of the same samples.

    >>> cloud = ScaledCloud.of(np.array([[0.0], [2.0], [3.0]]))
    >>> rtd_lite_of(cloud, cloud)
    0.0
    """
    if not np.isfinite(first.tree + second.tree):
        return nan
    both = float(tree_edges(np.minimum(first.apart, second.apart)).sum())
    return (first.tree - both + second.tree - both) / 2


def rtd(x: Points, y: Points, *, subset: int = 500, subsets: int = 10, seed: int = 0) -> float:
    """Return the representation topology divergence, which needs gudhi.

    Args:
        x: features (samples, units) of one model.
        y: features of the same samples in another.
        subset: samples of a random subset; of fewer, all are used once.
        subsets: how many of them are averaged.
        seed: of the subsets.

    Returns:
        The summed length of the loops that the samples of one representation close in the other,
        mean over both orders; in [0, ∞), 0 = the same clusters. Two unrelated uniform clouds in the
        plane give about 35.6 at 500 samples. NaN as in `rtd_lite`.

    Raises:
        RequestError: gudhi is not installed, or shapes that do not fit.

    Source: Barannikov et al., arXiv 2201.00058; the matrix of distances is that of their code.
    """
    first, second = feature_pair(x, y)
    n = len(first)
    if n <= subset:
        return _divergence(first, second)
    generator = np.random.default_rng(seed)
    places = (generator.choice(n, subset, replace=False) for _ in range(subsets))
    return float(np.mean([_divergence(first[p], second[p]) for p in places]))


def _divergence(x: Array, y: Array) -> float:
    first, second = ScaledCloud.of(x), ScaledCloud.of(y)
    if not np.isfinite(first.tree + second.tree):
        return nan
    return (_loops(first.apart, second.apart) + _loops(second.apart, first.apart)) / 2


def _loops(first: Array, second: Array) -> float:
    zero = np.zeros_like(first)
    joined = np.block([[zero, first.T], [first, np.minimum(first, second)]])
    return total_persistence(persistence(joined, (0, 1), most=len(joined)), 1)
