"""Correlation across conditions: against scipy, coverage of the intervals, bad input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, permutation_test, spearmanr

from wingbeat.errors import CONSTANT, TOO_FEW_CONDITIONS, TOO_FEW_REPLICAS, RequestError
from wingbeat.study.correlation import (
    correlate,
    correlation,
    groups_to_decide,
    permutation_p,
)

SMALL = st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=3, max_size=15)


@settings(max_examples=60, deadline=None)
@given(SMALL)
def test_values_are_those_of_scipy_ties_included(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, dtype=float).T
    for method, theirs in (("spearman", spearmanr), ("pearson", pearsonr)):
        found = correlation(x, y, method=method)  # type: ignore[arg-type]
        if len(set(x)) == 1 or len(set(y)) == 1:
            assert found.reason == CONSTANT
        else:
            assert found.value == pytest.approx(float(theirs(x, y).statistic), abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(SMALL, st.floats(0.1, 10), st.integers(0, 9))
def test_symmetry_scaling_and_order(pairs: list[tuple[int, int]], c: float, seed: int) -> None:
    x, y = np.array(pairs, dtype=float).T
    order = np.random.default_rng(seed).permutation(len(x))
    one = correlation(x, y)
    for other in (
        correlation(y, x),
        correlation(c * x + 1, y),
        correlation(x[order], y[order]),
    ):
        assert other.value == pytest.approx(one.value, abs=1e-9, nan_ok=True)
    assert correlation(-x, y).value == pytest.approx(-one.value, abs=1e-9, nan_ok=True)


def test_a_resample_by_hand() -> None:
    """The weighted form equals ranking the resample itself."""
    from wingbeat.study.correlation import correlation as whole
    from wingbeat.study.correlation import weighted_correlation

    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, 12).astype(float), rng.normal(size=12)
    weights = rng.multinomial(12, np.full(12, 1 / 12), size=8).astype(float)
    for method, theirs in (("spearman", spearmanr), ("pearson", pearsonr)):
        found = weighted_correlation(x, y, weights, method)  # type: ignore[arg-type]
        for row, value in zip(weights.astype(int), found, strict=True):
            drawn = theirs(np.repeat(x, row), np.repeat(y, row)).statistic
            assert value == pytest.approx(float(drawn), abs=1e-9)
    assert whole(x, y).low <= whole(x, y).value <= whole(x, y).high


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.9])
@pytest.mark.parametrize("method", ["pearson", "spearman"])
@pytest.mark.parametrize("n", [5, 8, 12, 40])
def test_coverage_for_gaussians(n: int, method: Any, rho: float) -> None:
    rng, inside = np.random.default_rng(1), 0
    truth = rho if method == "pearson" else 6 / math.pi * math.asin(rho / 2)
    for _ in range(600):
        x = rng.normal(size=n)
        y = rho * x + math.sqrt(1 - rho**2) * rng.normal(size=n)
        found = correlation(x, y, method=method)
        inside += found.low <= truth <= found.high
    assert inside / 600 >= 0.93  # small samples cover more


def test_five_points_in_order_are_not_certain() -> None:
    found = correlation(np.arange(5.0), np.arange(5.0))
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low < 0.0, "of five points in order, no correlation is not excluded"
    assert correlation(np.arange(40.0), np.arange(40.0)).low > 0.9


@pytest.mark.parametrize("method", ["pearson", "spearman"])
@pytest.mark.parametrize("n", [6, 12])
def test_p_by_permutation_is_scipys(n: int, method: Any) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=n)
    y = 0.5 * x + rng.normal(size=n)
    theirs = {"pearson": pearsonr, "spearman": spearmanr}[method]
    # the size of the correlation, so that both tails count: scipy's two-sided doubles one
    expected = permutation_test(
        (x,),
        lambda v: abs(theirs(v, y).statistic),
        permutation_type="pairings",
        alternative="greater",
        n_resamples=4000,
    ).pvalue
    found = permutation_p(x, y, method=method, draws=4000)
    assert found == pytest.approx(expected, abs=1e-9 if n == 6 else 0.03)


def test_p_is_level_where_there_is_no_correlation() -> None:
    rng = np.random.default_rng(4)
    small = [permutation_p(*rng.normal(size=(2, 6))) <= 0.05 for _ in range(400)]
    assert sum(small) / 400 <= 0.05 + 3 * 0.011


def test_groups_of_unlike_size_have_no_p_and_equal_ones_move_whole() -> None:
    x = np.repeat(np.arange(4.0), 3)
    y = x + 0.01 * np.arange(12)
    assert permutation_p(x, y, groups=np.repeat(np.arange(4), 3).tolist()) == 2 / 24
    assert math.isnan(permutation_p(x, y, groups=[0] * 5 + [1] * 7))


def test_several_claims_are_corrected() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(12, 6)), columns=list("abcdef"))
    found = correlate(table, list("abc"), list("def"))
    assert (found["p_holm"] >= found["p"]).all()
    assert found["p_holm"].min() == pytest.approx(min(1, 9 * found["p"].min()))


def test_groups_are_drawn_whole() -> None:
    rng = np.random.default_rng(0)
    between = np.repeat(rng.normal(size=6), 20)
    x, y = between + 0.01 * rng.normal(size=120), between + 0.01 * rng.normal(size=120)
    groups = np.repeat(np.arange(6), 20).tolist()
    noise = np.repeat(rng.normal(size=6), 20)
    alone = correlation(x, y + noise)
    nested = correlation(x, y + noise, groups=groups)
    assert nested.value == alone.value
    assert nested.high - nested.low > 2 * (alone.high - alone.low)


def test_few_conditions() -> None:
    x = np.arange(4.0)
    assert correlation(x[:2], x[:2]).reason == TOO_FEW_CONDITIONS
    few = correlation(x, x)
    assert few.value == 1.0
    assert few.interval_reason == TOO_FEW_REPLICAS
    assert math.isnan(few.low)


def test_a_table_with_undefined_rows() -> None:
    table = pd.DataFrame(
        {
            "lr": [1, 1, 2, 2, 3, 3, 4, 4, 5, 5],
            "sharpness": [1.0, 2, 3, 4, 5, 6, 7, 8, 9, math.inf],
            "spread": 1.0,
            "accuracy": [9.0, 8, 7, 6, 5, 4, 3, 2, math.nan, 0],
        }
    )
    found = correlate(table, ["sharpness", "spread"], ["accuracy"], group="lr", draws=200)
    assert found["value"].tolist()[0] == pytest.approx(-1.0)
    assert found["n"].tolist() == [8, 9]
    assert found["left_out"].tolist() == [2, 1]
    assert found["reason"].tolist()[1] == CONSTANT
    again = correlate(table, ["sharpness", "spread"], ["accuracy"], group="lr", draws=200)
    pd.testing.assert_frame_equal(found, again)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((["sharpnes"], ["accuracy"], {}), "did you mean 'sharpness'"),
        ((["name"], ["accuracy"], {}), "holds no numbers"),
        ((["sharpness"], ["accuracy"], {"method": "kendall"}), "method is 'kendall'"),
        ((["sharpness"], ["accuracy"], {"level": 95}), "level is 95"),
        ((["sharpness"], ["accuracy"], {"group": "seeds"}), "no column 'seeds'"),
    ],
)
def test_bad_requests(arguments: Any, said: str) -> None:
    table = pd.DataFrame({"sharpness": [1.0, 2], "accuracy": [1.0, 2], "name": ["a", "b"]})
    measured, outcomes, options = arguments
    with pytest.raises(RequestError, match=said):
        correlate(table, measured, outcomes, **options)


@pytest.mark.parametrize(("value", "most"), [(0.3, 0.85), (-0.5, 0.85), (0.8, 0.92)])
def test_as_many_pairs_as_are_named_decide_in_four_of_five_draws(value: float, most: float) -> None:
    """Bivariate normal draws of that correlation; of few pairs (12 for .8) it is more of them."""
    count = groups_to_decide(value, method="pearson")
    rng = np.random.default_rng(3)
    x = rng.normal(size=(1000, count))
    y = value * x + np.sqrt(1 - value**2) * rng.normal(size=x.shape)
    found = [correlation(a, b, method="pearson") for a, b in zip(x, y, strict=True)]
    decided = np.mean([(e.low > 0) if value > 0 else (e.high < 0) for e in found])
    assert 0.76 < decided < most  # the standard error of .8 is .013


def test_how_many_pairs_decide_is_near_what_normal_deviates_say() -> None:
    """(1.96 + 0.8416)² ÷ z² + 3: a little more, since the interval is Student's."""
    for value, normal in ((0.1, 782.6), (0.3, 84.9), (0.5, 29.0)):
        assert normal <= groups_to_decide(value, method="pearson") <= normal + 3
    assert groups_to_decide(0.7) > groups_to_decide(0.7, method="pearson")
    assert groups_to_decide(0.5, 0.5) == groups_to_decide(0.0, most=50) + 9_950 == 10_001
    assert groups_to_decide(0.7, 0.9) == groups_to_decide(-0.7, -0.9)
