"""Signs of single weights: which have changed, and which are exactly zero."""

from __future__ import annotations

from math import nan

import numpy as np

from wingbeat.errors import RequestError
from wingbeat.typing import Array


def sign_flips(before: Array, after: Array) -> float:
    """Return the share of weights that are positive at one moment and negative at the other.

    Args:
        before: weights of any shape.
        after: the same weights at another step, or of another replica.

    Returns:
        In [0, 1]: 0 = no sign changed. A weight that is exactly 0 has no sign and has not changed
        it. NaN without weights, or where one is not finite.

    Raises:
        RequestError: the shapes differ.

    Source: the 2-cycle of subgradient descent on λ|w|, arXiv 2401.08426; the measure is ours.

    >>> sign_flips(np.array([1.0, -1.0, 0.0, 2.0]), np.array([-1.0, -2.0, 1.0, 3.0]))
    0.25
    """
    return _share(_opposite(before, after), before, after)


def period_two(first: Array, second: Array, third: Array) -> float:
    """Return the share of weights whose sign changes and changes back within two records.

    Args:
        first: weights of any shape.
        second: the same weights one record later.
        third: another record later.

    Returns:
        In [0, 1]: 1 = every weight jumps to and fro across 0. NaN as in `sign_flips`.

    >>> period_two(np.array([1.0, 1.0]), np.array([-1.0, -1.0]), np.array([1.0, -1.0]))
    0.5
    """
    both = _opposite(first, second) & _opposite(second, third)
    return _share(both, first, second, third)


def exact_zeros(weights: Array) -> float:
    """Return the share of weights that are exactly 0, in [0, 1]; NaN as in `sign_flips`.

    >>> exact_zeros(np.array([0.0, -0.0, 1e-300, 1.0]))
    0.5
    """
    return _share(np.asarray(weights) == 0, weights)


def _opposite(a: Array, b: Array) -> np.ndarray:
    if np.shape(a) != np.shape(b):
        raise RequestError(f"weights have shapes {np.shape(a)} and {np.shape(b)}: give the same")
    return np.asarray(np.sign(a) * np.sign(b) < 0)


def _share(which: np.ndarray, *weights: Array) -> float:
    there = which.size and all(np.isfinite(w).all() for w in weights)
    return float(np.mean(which)) if there else nan
