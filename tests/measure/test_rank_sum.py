"""The comparison by ranks against SciPy's: exact and approximate, with ties and without."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from wingbeat.measure.rank_sum import _orders, larger_by_chance


@pytest.mark.parametrize("m", [1, 2, 5, 8, 9, 20])
@pytest.mark.parametrize("n", [1, 4, 5, 8, 13, 20])
@pytest.mark.parametrize("rounded", [False, True])
def test_p_values_are_those_of_scipy(m: int, n: int, rounded: bool) -> None:
    rng = np.random.default_rng(m * 100 + n)
    for shift in (-1.5, 0.0, 1.0):
        a, b = rng.normal(size=m) + shift, rng.normal(size=n)
        if rounded:
            a, b = a.round(), b.round()
        expected = mannwhitneyu(a, b, alternative="greater").pvalue
        assert larger_by_chance(a, b) == pytest.approx(expected, rel=1e-12)
        expected = mannwhitneyu(a, b, alternative="less").pvalue
        assert larger_by_chance(b, a) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n", range(5, 21))
def test_no_order_is_judged_otherwise_at_the_level_that_decides(n: int) -> None:
    """Five losses against so many: every number of pairs, on either side of 0.005."""
    counts = np.array(_orders(5, n), dtype=float)
    tails = counts[::-1].cumsum()[::-1] / counts.sum()
    for place in np.flatnonzero(np.abs(tails - 0.005) < 0.004):
        high, rest = divmod(int(place), n)
        a = np.r_[np.full(5 - high - (rest > 0), -1.0), [rest - 0.5] * (rest > 0), [99.0] * high]
        a, b = a + 1e-3 * np.arange(5), np.arange(n, dtype=float)
        expected = mannwhitneyu(a, b, alternative="greater").pvalue
        assert (larger_by_chance(a, b) < 0.005) == (expected < 0.005)


def test_equal_values_say_nothing() -> None:
    assert larger_by_chance(np.ones(5), np.ones(7)) == 1.0
