"""How far two models' features are apart after the best rotation."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.metrics.features import centred_features, feature_pair, rescaled, why_undefined
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.arguments import Points


def procrustes(x: Points, y: Points) -> float:
    """Return the orthogonal Procrustes distance of two feature matrices.

    Both are centred and scaled to Frobenius norm 1; then the distance is min over orthogonal Q of
    |X − Y Q|, the narrower one being padded with zeros. It is a metric: symmetric, and with a
    triangle inequality.

    Args:
        x: (samples, features) of one model.
        y: (samples, features) of another on the same samples; the widths may differ.

    Returns:
        No unit, in [0, √2], 0 = the same up to rotation, reflection, one factor and a shift; √2 =
        no linear relation. Features of more dimensions than samples can be rotated onto each
        other: independent ones come the nearer to 0 the wider they are. NaN (`why_undefined`
        tells why) with fewer than 2 samples, where no feature varies, or where one is not finite.

    Raises:
        RequestError: no matrices, or different numbers of samples.

    Source: Schönemann (1966); Williams et al., arXiv 2110.14739, section 2; Ding et al., arXiv
    2108.01661, use its square.

    >>> x = np.array([[0.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    >>> round(procrustes(x, 5.0 * x[:, ::-1] + 1.0), 9)
    0.0
    """
    from scipy.linalg import orthogonal_procrustes  # late: 0.06 s that other runs need not pay

    first, second = feature_pair(x, y)
    if why_undefined(first, second, least=2):
        return nan
    a, b = (_unit(centred_features(rescaled(f))) for f in (first, second))
    wide = max(a.shape[1], b.shape[1])
    a, b = (np.pad(m, ((0, 0), (0, wide - m.shape[1]))) for m in (a, b))
    rotation, _ = orthogonal_procrustes(b, a)
    # The residual itself keeps small distances, where √(2 − 2 Σ s) would lose half the digits.
    return min(float(np.linalg.norm(a - b @ rotation)), float(np.sqrt(2.0)))


def _unit(x: Array) -> Array:
    """Return features of norm 1 in at most as many dimensions as there are samples."""
    if x.shape[1] > x.shape[0]:
        left, sizes, _ = np.linalg.svd(x, full_matrices=False)
        x = left * sizes  # a rotation of the features, which the distance does not see
    return np.asarray(x / np.linalg.norm(x))
