"""How a distance between moments grows with the time between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wingbeat import special
from wingbeat.arguments import as_float64
from wingbeat.errors import TOO_FEW_POINTS, TOO_FEW_REPLICAS, RequestError
from wingbeat.stats import Estimate
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Structure:
    """The mean distance against the time between two moments.

    Attributes:
        dt: times, ascending.
        mean: mean distance of all pairs that far apart, and over replicas.
        each: the same of every replica, (replicas, len(dt)).
        slope: of ln distance against ln time over the longest decade: 0 = jitter around something
            fixed, 1 = diffusion, 2 = drift; with an interval over replicas.
        plateau: mean distance over the longest decade of times.
    """

    dt: Array
    mean: Array
    each: Array
    slope: Estimate
    plateau: float

    @property
    def confined(self) -> str:
        """Tell whether what moves stays near something fixed; see `confinement`."""
        return confinement(self.slope)


def confinement(slope: Estimate) -> str:
    """Tell from the slope of a structure function whether what moves stays near something fixed.

    "supported" where the interval of the slope holds 0 and excludes 1, "contradicted" where it is
    above 0, "undetermined" otherwise.

    >>> confinement(Estimate(0.0, -0.1, 0.1)), confinement(Estimate(1.0, 0.9, 1.1))
    ('supported', 'contradicted')
    """
    low, high = slope.low, slope.high
    if not np.isfinite(low + high):
        return "undetermined"
    if low > 0:
        return "contradicted"
    return "supported" if low <= 0 <= high < 1 else "undetermined"


def structure_function(
    distances: Array, steps: Sequence[int], *, level: float = 0.95, decade: float = 10.0
) -> Structure:
    """Return the structure function of squared-distance-like numbers between moments.

    Args:
        distances: (T, T), or (replicas, T, T): between every two moments of one replica.
        steps: of the T moments.
        level: of the interval of the slope, Student's over replicas.
        decade: the slope is fitted on times above the longest ÷ this.

    Returns:
        `Structure`. A kernel that jitters without memory around a fixed one has the same distance
        at all times, σ²/(‖K̄‖² + σ²) for 1 − cosine: that the curve is flat tells nothing else.

    Raises:
        RequestError: shapes that do not fit, or fewer than three moments.

    Source: the structure function of turbulence; the null model is ours.

    >>> walk = np.abs(np.subtract.outer(np.arange(50), np.arange(50))).astype(float)
    >>> round(structure_function(walk, range(50)).slope.value, 6)
    1.0
    """
    distances = as_float64(distances, "distances")
    stack = distances[None] if distances.ndim == 2 else distances
    if stack.ndim != 3 or stack.shape[1:] != (len(steps),) * 2 or len(steps) < 3:
        raise RequestError(
            f"distances have shape {distances.shape} for {len(steps)} steps: give (T, T) or "
            "(replicas, T, T) of at least three moments"
        )
    at = np.asarray(steps, dtype=np.int64)
    apart = np.abs(at[:, None] - at[None, :])
    dt = np.unique(apart[apart > 0])
    each = np.stack([stack[:, apart == lag].mean(axis=1) for lag in dt], axis=1)
    late = dt >= dt[-1] / decade
    return Structure(
        dt.astype(np.float64),
        each.mean(axis=0),
        each,
        _slope(dt[late], each[:, late], level),
        float(each[:, late].mean()),
    )


def _slope(dt: Array, each: Array, level: float) -> Estimate:
    if len(dt) < 2 or not (each > 0).all():
        return Estimate.undefined(TOO_FEW_POINTS)
    slopes = np.polyfit(np.log(dt), np.log(each).T, 1)[0]
    n, value = len(slopes), float(slopes.mean())
    if n < 3:
        return Estimate(value, interval_reason=TOO_FEW_REPLICAS)
    half = float(special.stdtrit(n - 1, 0.5 + level / 2)) * float(slopes.std(ddof=1)) / n**0.5
    return Estimate(value, value - half, value + half)
