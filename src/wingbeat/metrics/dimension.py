"""How many directions a set of points really uses."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.arguments import as_float64, points_of
from wingbeat.errors import RequestError
from wingbeat.metrics.gram import centred, gram

if TYPE_CHECKING:
    from wingbeat.arguments import Points


def participation_ratio(points: Points, *, precomputed: bool = False) -> float:
    """Return (Σμ)² ÷ Σμ² over the eigenvalues μ of the points' covariance.

    Both sums are traces of the Gram matrix, so no eigenvalue is computed.

    Args:
        points: ``(n, P)``; or, if ``precomputed``, their Gram matrix ``(n, n)``, any origin.
        precomputed: whether ``points`` is a Gram matrix.

    Returns:
        A float in [1, min(n − 1, P)], no unit: 1 = all on a line. NaN if all points are
        identical, for one point, and where a weight is not finite.

    Raises:
        RequestError: for the wrong number of axes.

    Source: Gao et al., A theory of multineuronal dimensionality (2017); the same value as
    deep-lyapunov's ``compute_participation_ratio``.

    >>> participation_ratio(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
    2.0
    """
    points = points_of(points)
    if points.ndim != 2:
        raise RequestError(f"points have shape {tuple(points.shape)}; give (points, parameters)")
    g = centred(as_float64(points)) if precomputed else gram(points)
    total = float(np.trace(g))
    if not np.isfinite(total) or total <= 0.0:
        return nan
    # Scaled first, so that the squares of tiny traces do not vanish.
    g = g / total
    return 1.0 / float(np.einsum("ij,ij->", g, g))
