"""Derivatives by central differences, one coordinate and one step size at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def central(
    function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, v: np.ndarray, size: float
) -> np.ndarray:
    """Return (f(x + size·v) − f(x − size·v)) ÷ (2·size), entry by entry."""
    ahead, back = function(x + size * v), function(x - size * v)
    found = np.empty_like(ahead)
    for i in range(len(found)):
        found[i] = (ahead[i] - back[i]) / (2.0 * size)
    return found


def closest(
    function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, v: np.ndarray, expected: np.ndarray
) -> float:
    """Return the smallest relative distance of a central difference from what is expected.

    Large steps suffer from curvature and kinks, small ones from rounding: the best of a few.
    """
    best = np.inf
    for size in (1e-4, 1e-5, 1e-6):
        away = central(function, x, v, size) - expected
        best = min(best, float(np.linalg.norm(away) / np.linalg.norm(expected)))
    return best


def jacobian(
    function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, size: float
) -> np.ndarray:
    """Return the derivative of every output by every input, one column at a time."""
    columns = []
    for i in range(len(x)):
        unit = np.zeros_like(x)
        unit[i] = 1.0
        columns.append(central(function, x, unit, size))
    return np.stack(columns, axis=1)
