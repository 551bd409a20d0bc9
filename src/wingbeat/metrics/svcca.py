"""Canonical correlations between the leading directions of two models' features."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.arguments import real_number
from wingbeat.errors import TOO_FEW_SAMPLES, RequestError
from wingbeat.metrics.features import centred_features, feature_pair, rescaled, why_undefined
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.arguments import Points


@dataclass(frozen=True)
class SVCCA:
    """How alike the leading directions of two feature matrices are.

    Attributes:
        similarity: mean canonical correlation in [0, 1], no unit, 1 = the same directions; NaN
            with a reason.
        correlations: each of them, largest first.
        kept: directions kept of each model.
        reason: why there is no value: ``too_few_samples``, ``constant``, ``diverged``; else "".
    """

    similarity: float
    correlations: tuple[float, ...]
    kept: tuple[int, int]
    reason: str = ""

    @property
    def distance(self) -> float:
        """1 − similarity, in [0, 1], 0 = the same directions."""
        return 1.0 - self.similarity


def svcca(x: Points, y: Points, variance: float = 0.99) -> SVCCA:
    """Return singular-vector canonical correlation analysis of two feature matrices.

    Of each model those principal directions are kept that hold a share of the variance; then the
    correlations of the two subspaces are averaged. Unchanged by rotation, one factor and a shift;
    with ``variance=1`` by every invertible linear map.

    Args:
        x: (samples, features) of one model.
        y: (samples, features) of another on the same samples; the widths may differ.
        variance: share of each model's variance that is kept, in (0, 1].

    Returns:
        The mean correlation and its parts. Undefined unless there are more samples than
        directions kept of both together: with fewer, some correlations are 1 whatever the data.

    Raises:
        RequestError: no matrices, different numbers of samples, or a share out of range.

    Source: Raghu et al., arXiv 1706.05806.

    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> round(svcca(x, x @ np.diag([1.0, 5.0, 2.0]), variance=1.0).similarity, 12)
    1.0
    """
    variance = real_number(variance, "variance", "give a share above 0 and up to 1")
    if not 0.0 < variance <= 1.0:
        raise RequestError(f"variance is {variance!r}: give a share above 0 and up to 1")
    first, second = feature_pair(x, y)
    reason = why_undefined(first, second, least=3)
    if reason:
        return SVCCA(nan, (), (0, 0), reason)
    bases = [_leading(centred_features(rescaled(f)), variance) for f in (first, second)]
    kept = (bases[0].shape[1], bases[1].shape[1])
    if sum(kept) >= len(first):
        return SVCCA(nan, (), kept, TOO_FEW_SAMPLES)
    found = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)
    correlations = np.clip(found, 0.0, 1.0)
    return SVCCA(float(correlations.mean()), tuple(correlations.tolist()), kept)


def _leading(x: Array, variance: float) -> Array:
    """Return an orthonormal basis (samples, kept) of the leading directions."""
    left, sizes, _ = np.linalg.svd(x, full_matrices=False)
    rank = int((sizes > sizes[0] * max(x.shape) * np.finfo(np.float64).eps).sum())
    share = np.cumsum(sizes[:rank] ** 2) / np.sum(sizes[:rank] ** 2)
    # The last entry is 1 up to rounding: all of them are kept then.
    kept = min(rank, int(np.searchsorted(share, variance - 1e-12)) + 1)
    return np.asarray(left[:, :kept])
