"""Mann and Whitney's test alone: `scipy.stats` takes 0.4 s to import, and no run needs its rest.

Source: Mann and Whitney, Annals of Mathematical Statistics 18 (1947).
"""

from __future__ import annotations

from math import comb, sqrt
from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat import special

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wingbeat.typing import Array

_EXACT: Final = 8
"""Up to so many values on one side, and without ties, all orders are counted, as SciPy does."""


def larger_by_chance(one: Array | Sequence[float], other: Array | Sequence[float]) -> float:
    """Return how likely the first values are as large against the second by chance alone.

    Args:
        one: finite values, at least one.
        other: likewise.

    Returns:
        The one-sided p-value of `scipy.stats.mannwhitneyu(one, other, alternative="greater")`.

    >>> larger_by_chance([3.0, 4.0], [1.0, 2.0])
    0.16666666666666666
    """
    a, b = np.sort(np.asarray(one, dtype=np.float64)), np.sort(np.asarray(other, dtype=np.float64))
    m, n = len(a), len(b)
    # Pairs in which the first is the larger one; a tie counts half.
    pairs = float(np.searchsorted(b, a).sum() + np.searchsorted(b, a, side="right").sum()) / 2
    _, ties = np.unique(np.concatenate([a, b]), return_counts=True)
    if min(m, n) <= _EXACT and ties.max() == 1:
        return sum(_orders(m, n)[int(pairs) :]) / comb(m + n, m)
    size = m + n
    tied = float((ties**3 - ties).sum()) / (size * (size - 1))
    variance = m * n / 12 * (size + 1 - tied)
    if variance <= 0:  # all are the same
        return 1.0
    return float(special.ndtr(-(pairs - m * n / 2 - 0.5) / sqrt(variance)))


def _orders(m: int, n: int) -> list[int]:
    """Return in how many orders of m and n values so many pairs have the first larger, (m n + 1).

    They are the coefficients of the Gaussian binomial ∏ (1 − q^(n + i)) ÷ (1 − q^i), i = 1 … m.
    """
    count = [1] + [0] * (m * n)
    for i in range(1, m + 1):
        for k in range(m * n, n + i - 1, -1):
            count[k] -= count[k - n - i]
        for k in range(i, m * n + 1):
            count[k] += count[k - i]
    return count
