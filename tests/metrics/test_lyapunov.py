from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import weight_space as slow

from wingbeat.errors import (
    BELOW_NOISE_FLOOR,
    DIVERGED,
    SATURATED,
    TOO_FEW_POINTS,
    RequestError,
)
from wingbeat.metrics import (
    early_late_ratio,
    finite_time,
    finite_time_slopes,
    fit_window,
    local_lyapunov,
)
from wingbeat.stats import resample

SERIES = hnp.arrays(
    np.float64, st.tuples(st.integers(2, 8), st.integers(1, 4)), elements=st.floats(1e-6, 1e6)
)


@pytest.mark.parametrize("rate", [-0.3, 0.0, 1e-4, 0.7])
def test_an_exponential_gives_its_own_rate(rate):
    steps = np.array([0, 1, 2, 5, 9])
    fit = finite_time(steps, 1e-3 * np.exp(rate * steps))
    assert fit.slope == pytest.approx(rate, abs=1e-13)
    assert fit.two_point == pytest.approx(rate, abs=1e-13)
    assert fit.intercept == pytest.approx(np.log(1e-3), abs=1e-12)
    assert (fit.window, fit.points, fit.reason) == ((0.0, 9.0), 5, "")
    if abs(rate) > 0:
        assert fit.r2 == pytest.approx(1.0, abs=1e-9)


def test_a_constant_distance_has_no_r2():
    assert np.isnan(finite_time([0, 1, 2], [1.0, 1.0, 1.0]).r2)


@settings(max_examples=80, deadline=None)
@given(series=SERIES, start=st.integers(0, 50))
def test_equals_the_normal_equations(series, start):
    steps = start + np.arange(len(series)) * 3
    means = np.log(series).mean(axis=1)
    fit = finite_time(steps, series)
    slope, intercept = slow.least_squares(steps.tolist(), means.tolist())
    assert fit.slope == pytest.approx(slope, abs=1e-9)
    assert fit.intercept == pytest.approx(intercept, abs=1e-7)
    assert np.isnan(fit.r2) or 0.0 <= fit.r2 <= 1.0


@settings(max_examples=50, deadline=None)
@given(series=SERIES, scale=st.floats(1e-3, 1e3), stretch=st.integers(1, 20))
def test_symmetries(series, scale, stretch):
    steps = np.arange(len(series))
    slope = finite_time(steps, series).slope
    assert finite_time(steps, scale * series).slope == pytest.approx(slope, abs=1e-10)
    assert finite_time(steps, series[:, ::-1]).slope == pytest.approx(slope, abs=1e-10)
    assert finite_time(steps, 1 / series).slope == pytest.approx(-slope, abs=1e-10)
    assert finite_time(stretch * steps, series).slope == pytest.approx(slope / stretch, abs=1e-10)


def test_the_logistic_map_at_four_grows_by_ln_two():
    rng = np.random.default_rng(0)
    x, y = (start := rng.uniform(0.1, 0.9, size=4000)), start + 1e-12
    distances = []
    for _ in range(16):
        distances.append(np.abs(x - y))
        x, y = 4 * x * (1 - x), 4 * y * (1 - y)
    distances = np.array(distances)
    fit = finite_time(np.arange(16), distances[:, (distances > 0).all(axis=0)], saturation=1e-2)
    assert fit.slope == pytest.approx(np.log(2), abs=0.02)


def test_nothing_is_used_from_saturation_on():
    steps = np.arange(8)
    distances = np.minimum(np.exp(steps.astype(float)), np.exp(4.0))
    fit = finite_time(steps, distances, saturation=np.exp(3.5))
    assert (fit.slope, fit.window, fit.saturated) == (pytest.approx(1.0), (0.0, 3.0), 4)
    dipping = distances.copy()
    dipping[6] = 1.0
    assert finite_time(steps, dipping, saturation=np.exp(3.5)).window == (0.0, 3.0)


def test_points_at_the_floor_are_left_out_and_counted():
    distances = np.array([[0.0, 1e-9], [1.0, 2.0], [2.0, 4.0], [4.0, 8.0]])
    fit = finite_time(np.arange(4), distances, floor=1e-8)
    assert (fit.points, fit.below_floor, fit.reason) == (3, 1, "")
    assert fit.slope == pytest.approx(np.log(2))
    assert finite_time([0, 1, 2], [1e-8, 1.0, 2.0], floor=1e-8).below_floor == 1


@pytest.mark.parametrize(
    ("distances", "options", "reason"),
    [
        ([1.0], {}, TOO_FEW_POINTS),
        ([1.0, 2.0, 3.0], {"window": (5, 9)}, TOO_FEW_POINTS),
        ([0.0, 0.0, 0.0], {}, BELOW_NOISE_FLOOR),
        ([1.0, 1.0, 3.0], {"floor": 2.0}, BELOW_NOISE_FLOOR),
        ([1.0, np.nan, np.inf], {}, DIVERGED),
        ([1.0, 5.0, 6.0], {"saturation": 2.0}, SATURATED),
    ],
)
def test_undefined_carries_its_reason(distances, options, reason):
    fit = finite_time(np.arange(len(distances)), distances, **options)
    assert fit.reason == reason
    assert np.isnan([fit.slope, fit.intercept, fit.r2, fit.two_point, *fit.window]).all()
    assert fit.points == 0


def test_an_explicit_window_includes_both_ends():
    steps = np.arange(0, 60, 10)
    fit = finite_time(steps, np.exp(steps / 10.0), window=(10, 30))
    assert (fit.window, fit.points) == ((10.0, 30.0), 3)


def test_weights_average_the_replicas_and_zero_weight_ignores_one():
    steps = np.arange(3)
    distances = np.stack([np.exp(steps * 1.0), np.exp(steps * 3.0), np.zeros(3)], axis=1)
    fit = finite_time(steps, distances, weights=[3, 1, 0])
    assert fit.slope == pytest.approx(1.5)
    assert finite_time(steps, distances).reason == BELOW_NOISE_FLOOR


def test_slopes_for_bootstrap_weights_equal_repeated_fits():
    rng = np.random.default_rng(1)
    steps, distances = np.array([0, 2, 3, 7]), np.exp(rng.normal(size=(4, 5)))
    counts = resample(5, draws=15)
    found = finite_time_slopes(steps, np.log(distances), counts)
    expected = [finite_time(steps, distances, weights=row).slope for row in counts]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_slopes_are_nan_without_two_steps_or_any_weight():
    assert np.isnan(finite_time_slopes([3], [[1.0, 2.0]], np.ones((2, 2)))).all()
    found = finite_time_slopes([0, 1], [[0.0, 0.0], [1.0, 3.0]], [[0, 0], [1, 1]])
    assert np.isnan(found[0])
    assert found[1] == 2.0


def test_the_window_can_be_read_alone():
    window = fit_window([0, 1, 2, 3], np.array([[0.0], [1.0], [2.0], [9.0]]), saturation=5.0)
    assert window.used.tolist() == [False, True, True, False]
    assert (window.below_floor, window.saturated, window.reason) == (1, 1, "")


def test_local_increments_add_up_to_the_whole():
    rng = np.random.default_rng(2)
    steps, spread = np.array([0, 5, 6, 20]), np.exp(rng.normal(size=(3, 4)))
    found = local_lyapunov(steps, spread)
    assert found.shape == (3, 3)
    total = np.log(spread[:, -1] / spread[:, 0])
    np.testing.assert_allclose(found @ np.diff(steps), total, atol=1e-12)


def test_local_is_undefined_next_to_zero():
    assert np.isnan(local_lyapunov([0, 1, 2, 3], [0.0, 1.0, 2.0, np.inf])).tolist() == [
        True,
        False,
        True,
    ]


@settings(max_examples=80, deadline=None)
@given(
    logs=hnp.arrays(np.float64, st.integers(3, 9), elements=st.floats(-3, 3)),
    gaps=st.lists(st.integers(1, 9), min_size=8, max_size=8),
)
def test_early_late_equals_the_walk_through_time(logs, gaps):
    logs = logs + np.arange(len(logs)) * 7.0
    steps = np.cumsum([0, *gaps])[: len(logs)]
    found = early_late_ratio(steps, np.exp(logs))
    assert found == pytest.approx(slow.early_late(steps.tolist(), np.exp(logs).tolist()), rel=1e-9)


def test_early_late_of_steady_growth_is_one_and_of_early_growth_above():
    steps = np.arange(11)
    assert early_late_ratio(steps, np.exp(0.3 * steps)) == pytest.approx(1.0)
    assert early_late_ratio(steps, np.exp(np.sqrt(steps))) > 1.0
    assert early_late_ratio(steps, np.exp(steps**2 / 10)) < 1.0


def test_early_late_leaves_out_a_start_at_zero():
    value = early_late_ratio([0, 1, 2, 3, 4], [0.0, 1.0, np.e, np.e**2, np.e**3])
    assert value == pytest.approx(1.0)


def test_early_late_is_undefined_without_change_or_data():
    assert np.isnan(early_late_ratio([0, 1, 2], [1.0, 2.0, 2.0]))
    assert np.isnan(early_late_ratio([0, 1, 2], [0.0, 0.0, 1.0]))
    assert np.isnan(early_late_ratio([0], [1.0]))


def test_early_late_of_many_series_at_once():
    rng = np.random.default_rng(3)
    spread = np.exp(rng.normal(size=(6, 9)))
    found = early_late_ratio(np.arange(9), spread)
    expected = [early_late_ratio(np.arange(9), row) for row in spread]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_tensors_are_accepted():
    fit = finite_time(torch.arange(3), torch.exp(torch.arange(3.0, dtype=torch.float64)))
    assert fit.slope == pytest.approx(1.0)


def test_bad_requests_are_refused():
    with pytest.raises(RequestError, match="must increase"):
        finite_time([0, 0], [1.0, 2.0])
    with pytest.raises(RequestError, match="for 2 values"):
        finite_time([0, 1, 2], [1.0, 2.0])
    with pytest.raises(RequestError, match=r"\(2, 2, 2\)"):
        finite_time([0, 1], np.ones((2, 2, 2)))
    with pytest.raises(RequestError, match="weights"):
        finite_time([0, 1], [[1.0], [2.0]], weights=[1, 2])
    with pytest.raises(RequestError, match="above zero"):
        finite_time([0, 1], [[1.0], [2.0]], weights=[0])
    with pytest.raises(RequestError, match="weights"):
        finite_time_slopes([0, 1], [[1.0], [2.0]], [1.0])
    with pytest.raises(RequestError, match="one per step"):
        local_lyapunov([0], 1.0)
