from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from wingbeat.errors import (
    BELOW_NOISE_FLOOR,
    CONSTANT,
    NO_VARIATION,
    TOO_FEW_REPLICAS,
    RequestError,
)
from wingbeat.metrics import gram, spread_from_gram
from wingbeat.stats import Estimate, bootstrap, resample, verdict

NAN, INF = math.nan, math.inf


def mean_of(x):
    return lambda w: w @ x / w.sum(axis=-1)


def ratio_of_means(x, y):
    return lambda w: (w @ x) / (w @ y)


def ratio_of_spreads(g):
    def ratio(w):
        spread = spread_from_gram(g, w, ties="drop")
        return spread[:, 1] / spread[:, 0]

    return ratio


# Estimate and verdict


def test_json_has_four_fields_and_no_nan():
    assert Estimate(1.0, -INF, NAN).to_json() == {
        "value": 1.0,
        "low": None,
        "high": None,
        "reason": "",
    }
    text = json.dumps(Estimate.undefined(BELOW_NOISE_FLOOR).to_json(), allow_nan=False)
    assert json.loads(text)["reason"] == BELOW_NOISE_FLOOR


def test_json_says_why_a_value_has_no_interval():
    found = Estimate(1.0, interval_reason=TOO_FEW_REPLICAS).to_json()
    assert found["interval_reason"] == TOO_FEW_REPLICAS
    assert (found["value"], found["low"], found["reason"]) == (1.0, None, "")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.2, 0.9, "convergent"),
        (1.1, 3.0, "divergent"),
        (0.9, 1.1, "undetermined"),
        (0.5, 1.0, "undetermined"),
        (1.0, 2.0, "undetermined"),
        (NAN, 0.5, "undetermined"),
        (2.0, NAN, "undetermined"),
        (2.0, INF, "divergent"),
        (0.0, 0.0, "convergent"),
    ],
)
def test_verdict_follows_the_interval(low, high, expected):
    assert verdict(Estimate(0.7, low, high)) == expected


def test_verdict_of_an_undefined_ratio():
    assert verdict(Estimate.undefined(BELOW_NOISE_FLOOR)) == "undetermined"
    assert verdict(Estimate(NAN, 0.1, 0.2)) == "undetermined"


def test_identical_copies_are_undetermined_and_never_convergent():
    g = gram(np.repeat(np.random.default_rng(0).normal(size=(2, 1, 30)), 5, axis=1))

    def ratio(w):
        spread = spread_from_gram(g, w)
        with np.errstate(invalid="ignore"):
            return spread[:, 1] / spread[:, 0]

    found = bootstrap(ratio, 5, scale="log")
    assert found == Estimate.undefined(CONSTANT) or math.isnan(found.value)
    assert found.reason == CONSTANT
    assert verdict(found) == "undetermined"


# Resampling


def test_resampling_is_repeatable_and_its_mean_is_one():
    a, b = resample(6, draws=4000, seed=3), resample(6, draws=4000, seed=3)
    assert np.array_equal(a, b)
    assert not np.array_equal(a, resample(6, draws=4000, seed=4))
    assert (a.sum(axis=1) == 6).all()
    np.testing.assert_allclose(a.mean(axis=0), 1.0, atol=0.06)
    np.testing.assert_allclose(a.var(axis=0), 5 / 6, atol=0.08)
    with pytest.raises(ValueError, match="read-only"):
        a[0, 0] = 9


def test_nested_resampling_keeps_the_size_of_each_base_seed():
    groups = [7, 7, 7, 1, 1, 5]
    w = resample(6, groups=groups, draws=3000)
    per_seed = [w[:, :3].sum(axis=1) / 3, w[:, 3:5].sum(axis=1) / 2, w[:, 5]]
    assert all((drawn == np.rint(drawn)).all() for drawn in per_seed)
    assert (np.sum(per_seed, axis=0) == 3).all()
    np.testing.assert_allclose([drawn.mean() for drawn in per_seed], 1.0, atol=0.06)


def test_one_base_seed_is_the_plain_bootstrap():
    x = np.arange(5.0)
    assert np.array_equal(resample(5, groups=[3] * 5), resample(5))
    assert bootstrap(mean_of(x), 5, groups=[3] * 5) == bootstrap(mean_of(x), 5)


# The interval


@settings(max_examples=40, deadline=None)
@given(x=st.lists(st.floats(-100, 100), min_size=3, max_size=12), seed=st.integers(0, 5))
def test_the_interval_holds_the_value_and_moves_with_the_data(x, seed):
    x = np.array(x)
    found = bootstrap(mean_of(x), len(x), seed=seed, draws=200)
    assert found.value == pytest.approx(x.mean(), abs=1e-9)
    if found.interval_reason:
        assert np.ptp(x) < 1e-12
        return
    assert found.low <= found.value <= found.high
    moved = bootstrap(mean_of(3 * x + 1), len(x), seed=seed, draws=200)
    if moved.interval_reason:  # beside 1 the differences are below rounding
        assert np.ptp(x) < 1e-12
        return
    for side in ("value", "low", "high"):
        assert getattr(moved, side) == pytest.approx(3 * getattr(found, side) + 1, abs=1e-6)


def test_the_interval_of_a_mean_is_students():
    x = np.random.default_rng(1).normal(size=8)
    found = bootstrap(mean_of(x), 8, draws=40_000)
    low, high = scipy_stats.t.interval(0.95, 7, x.mean(), scipy_stats.sem(x))
    assert found.low == pytest.approx(low, abs=0.01)
    assert found.high == pytest.approx(high, abs=0.01)


def test_a_log_interval_commutes_with_powers_and_stays_positive():
    x, y = np.exp(2 * np.random.default_rng(2).normal(size=(2, 5)))
    plain = bootstrap(ratio_of_means(x, y), 5, scale="log")
    square = bootstrap(lambda w: ratio_of_means(x, y)(w) ** 2, 5, scale="log")
    inverse = bootstrap(ratio_of_means(y, x), 5, scale="log")
    assert plain.low > 0
    assert square.high == pytest.approx(plain.high**2)
    assert inverse.low == pytest.approx(1 / plain.high)


def test_a_higher_level_gives_a_wider_interval_and_repeats_to_the_last_bit():
    x = np.random.default_rng(3).normal(size=6)
    narrow, wide = (bootstrap(mean_of(x), 6, level=level) for level in (0.8, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high
    assert bootstrap(mean_of(x), 6, level=0.8) == narrow


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_replicas_keep_the_value_without_an_interval(n):
    found = bootstrap(mean_of(np.arange(1.0, n + 1)), n)
    assert found.value == (n + 1) / 2
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert (found.reason, found.interval_reason) == ("", TOO_FEW_REPLICAS)
    assert verdict(found) == "undetermined"


def test_an_undefined_statistic_has_the_reason_it_was_given():
    found = bootstrap(lambda w: np.full(len(w), NAN), 5, reason=BELOW_NOISE_FLOOR)
    assert found.reason == BELOW_NOISE_FLOOR
    assert math.isnan(found.value)


def test_undefined_draws_are_left_out_until_they_are_most():
    x = np.arange(1.0, 6.0)

    def sometimes(share):
        def statistic(w):
            value = mean_of(x)(w)
            if len(value) > 1:
                value[: int(share * len(value))] = NAN
            return value

        return statistic

    assert math.isfinite(bootstrap(sometimes(0.4), 5).low)
    found = bootstrap(sometimes(0.6), 5)
    assert (found.value, found.interval_reason) == (3.0, CONSTANT)


def test_a_statistic_that_never_varied_is_not_certain():
    for value in (0.0, 3.0):
        found = bootstrap(lambda w, v=value: np.full(len(w), v), 5, scale="log")
        assert (found.value, found.interval_reason) == (value, NO_VARIATION)
        assert math.isnan(found.low)
        assert verdict(found) == "undetermined"


def test_a_ratio_of_zero_has_no_log_interval_if_draws_differ():
    found = bootstrap(lambda w: (w[:, 0] == 0).astype(float), 5, scale="log")
    assert found.value == 0.0
    assert found.interval_reason == CONSTANT


def test_bad_requests_are_refused():
    statistic = mean_of(np.ones(4))
    for options, word in (
        ({"level": 1.0}, "level"),
        ({"level": 95}, "level"),
        ({"scale": "log2"}, "log2"),
        ({"draws": 0}, "draws"),
        ({"groups": [1, 2]}, "2 groups"),
    ):
        with pytest.raises(RequestError, match=word):
            bootstrap(statistic, 4, **options)
    with pytest.raises(RequestError, match="n is 0"):
        bootstrap(statistic, 0)


# Coverage of the nominal 95 %, 400 trials each: the standard error is 1.1 points


def coverage(trial, truth, n, *, trials=400, **options):
    rng = np.random.default_rng(100 + n)
    hits = 0
    for _ in range(trials):
        found = bootstrap(trial(rng, n), n, draws=500, **options)
        hits += found.low <= truth <= found.high
    return hits / trials


def gaussian_mean(rng, n):
    return mean_of(rng.normal(size=n))


def lognormal_ratio(rng, n):
    x, y = np.exp(0.8 * rng.normal(size=(2, n)))
    return ratio_of_means(x, y)


def spread_ratio(parameters):
    def trial(rng, n):
        a, b = rng.normal(size=(2, n, parameters))
        return ratio_of_spreads(gram(np.stack([a, 2 * b])))

    return trial


@pytest.mark.parametrize("n", [5, 10, 30])
@pytest.mark.parametrize(
    ("trial", "truth", "scale"),
    [
        (gaussian_mean, 0.0, "linear"),
        (lognormal_ratio, 1.0, "log"),
        (spread_ratio(3), 2.0, "log"),
        (spread_ratio(100), 2.0, "log"),
    ],
    ids=["mean", "lognormal ratio", "spread ratio of 3", "spread ratio of 100"],
)
def test_coverage_stays_near_the_nominal_level(trial, truth, scale, n):
    assert 0.91 <= coverage(trial, truth, n, scale=scale) <= (1.0 if n == 5 else 0.98)


def test_plain_percentiles_would_undercover_with_five_replicas():
    rng, hits = np.random.default_rng(105), 0
    for _ in range(400):
        low, high = np.quantile(gaussian_mean(rng, 5)(resample(5)), [0.025, 0.975])
        hits += low <= 0.0 <= high
    assert hits / 400 < 0.89


def test_the_interval_of_a_spread_covers_once_ties_are_dropped():
    def trial(ties):
        def statistic(rng, n):
            g = gram(rng.normal(size=(n, 40)))
            return lambda w: spread_from_gram(g, w, ties=ties)

        return statistic

    truth = math.sqrt(40 * 9 / 10)
    assert 0.91 <= coverage(trial("drop"), truth, 10, trials=200, scale="log") <= 0.99
    # Kept ties vary with how many replicas a draw repeats, so the interval is far too wide.
    assert coverage(trial("keep"), truth, 10, trials=200, scale="log") > 0.985


@pytest.mark.parametrize("seeds", [4, 8])
def test_nested_coverage_holds_where_replicas_alone_would_not(seeds):
    def trial(rng, n):
        return mean_of(rng.normal(size=seeds).repeat(n // seeds) + 0.3 * rng.normal(size=n))

    n = 5 * seeds
    groups = np.arange(n) // 5
    assert 0.91 <= coverage(trial, 0.0, n, groups=groups.tolist()) <= 0.995
    assert coverage(trial, 0.0, n) < 0.75
