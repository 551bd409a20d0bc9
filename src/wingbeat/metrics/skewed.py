"""Limits of skewed values: of Student's t of several, and of the logarithm of a χ².

Sources: Johnson, Journal of the American Statistical Association 73 (1978), for Student's t of
several skewed values; Smyth, Statistical Applications in Genetics and Molecular Biology 3 (2004),
for the inverse of the trigamma function.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from wingbeat import special
from wingbeat.metrics.degrees_of_freedom import MANY
from wingbeat.typing import Array

_CERTAIN: Final = 1e-12
"""A variance of a logarithm below which its χ² is a Gaussian to the last digits."""
_FEWEST_DEGREES: Final = 0.05
"""Degrees of freedom of a χ² whose logarithm reaches from -72 to 2: nothing is known of it."""


def students_limits(count: float, level: float, skewness: float) -> tuple[float, float]:
    """Return the limits between which Student's t of skewed values lies.

    Student's quantile, moved by the first term of the expansion at the normal one: at Student's
    own the term, which is made for many values, goes astray with three.

    Args:
        count: number of values, at least 2.
        level: nominal coverage.
        skewness: third central moment ÷ standard deviation³ of the values.

    >>> [round(x, 3) for x in students_limits(5, 0.95, 0.0)]
    [-2.776, 2.776]
    >>> [round(x, 2) for x in students_limits(5, 0.95, -1.0)]
    [-2.13, 3.42]
    """
    normal = float(special.ndtri(0.5 + level / 2.0))
    student = float(special.stdtrit(count - 1, 0.5 + level / 2.0))
    moved = skewness * (1.0 + 2.0 * normal**2) / (6.0 * math.sqrt(count))
    return -student - moved, student - moved


def reach(variance: float, level: float) -> tuple[float, float]:
    """Return how far the truth may lie above and below half the logarithm of a χ² ÷ its freedom.

    Args:
        variance: of that half logarithm, ≥ 0; it says how many degrees of freedom there are.
        level: nominal coverage.

    Returns:
        Two distances ≥ 0 from the value freed of its bias; the first is the longer one.

    >>> [round(x, 2) for x in reach(np.pi**2 / 24, 0.95)]  # two degrees of freedom
    [1.55, 0.94]
    """
    tail = 0.5 + level / 2.0
    if variance < _CERTAIN:
        either = float(special.ndtri(tail)) * math.sqrt(variance)
        return either, either
    freedom = max(2.0 * inverse_trigamma(4.0 * variance), _FEWEST_DEGREES)
    bias = float(half_log_bias(np.array(freedom / 2.0)))
    above, below = (
        0.5 * np.log(freedom / special.chdtri(freedom, np.array([tail, 1.0 - tail]))) + bias
    )
    return float(above), float(-below)


def half_log_bias(halves: Array) -> Array:
    """Return how far half the logarithm of χ² ÷ freedom lies off 0 on average.

    Args:
        halves: half the degrees of freedom.
    """
    return np.asarray((special.psi(halves) - np.log(halves)) / 2.0)


def inverse_trigamma(value: float) -> float:
    """Return x with trigamma(x) = value > 0, by Newton's method on 1 ÷ trigamma (Smyth)."""
    if value < 1e-9:
        return min(1.0 / max(value, 1.0 / MANY), MANY)
    x = 0.5 + 1.0 / value
    for _ in range(50):
        here = float(special.polygamma(1, x))
        step = here * (1.0 - here / value) / float(special.polygamma(2, x))
        x += step
        if abs(step) < 1e-12 * x:
            break
    return x
