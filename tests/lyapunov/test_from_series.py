"""Exponents and chaos from one series: Rosenstein, Kantz, 0–1, period, autocorrelation."""

from __future__ import annotations

import math
from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp

from wingbeat.errors import RequestError
from wingbeat.lyapunov import autocorrelation, from_series, linear_region, period, zero_one
from wingbeat.lyapunov.series.divergence import embed


def logistic_series(r: float, count: int, start: float = 0.3) -> np.ndarray:
    x = np.empty(count)
    x[0] = start
    for i in range(1, count):
        x[i] = r * x[i - 1] * (1 - x[i - 1])
    return x


def henon_series(count: int) -> np.ndarray:
    x, y, found = 0.1, 0.1, []
    for _ in range(count + 100):
        x, y = 1 - 1.4 * x * x + y, 0.3 * x
        found.append(x)
    return np.array(found[100:])


NOISE = np.random.Generator(np.random.PCG64(0)).standard_normal(2000)


@pytest.mark.parametrize("method", ["rosenstein", "kantz"])
def test_logistic(method) -> None:
    series = logistic_series(4.0, 4000)
    found = from_series(series, method=method, dimension=1, horizon=12, radius=0.002)
    assert found.reason == ""
    assert found.exponent == pytest.approx(log(2), abs=0.05)
    assert found.r2 > 0.99


@pytest.mark.parametrize("method", ["rosenstein", "kantz"])
def test_henon(method) -> None:
    found = from_series(henon_series(4000), method=method, horizon=15, radius=0.01)
    assert found.exponent == pytest.approx(0.419, abs=0.05)


@pytest.mark.parametrize("method", ["rosenstein", "kantz"])
def test_noise_has_no_linear_region(method) -> None:
    found = from_series(NOISE, method=method, dimension=2)
    assert found.reason == "no_linear_region"
    assert np.isnan(found.exponent)
    assert found.window == (0, 0)


def test_periodic_series_have_no_distances() -> None:
    assert from_series(logistic_series(3.5, 3000)[1000:]).reason == "below_noise_floor"


def test_undefined_series() -> None:
    assert from_series(np.ones(500)).reason == "constant"
    assert from_series(np.arange(10.0)).reason == "too_few_points"
    assert from_series([*NOISE, np.nan]).reason == "diverged"
    assert from_series(NOISE, method="kantz", radius=1e-12).reason == "too_few_points"


def test_the_theiler_window_leaves_out_the_same_piece_of_orbit() -> None:
    # a slow smooth cycle: without the window neighbours are the next points in time
    series = np.sin(np.arange(780) * 0.01)
    found = from_series(series, dimension=2, delay=150, theiler=200, horizon=20)
    assert np.isnan(found.exponent)
    near = from_series(series, dimension=2, delay=150, theiler=0, horizon=20)
    assert near.curve[0] != pytest.approx(found.curve[0], abs=0.1)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"method": "kanz"}, "kantz"),
        ({"dimension": 0}, "dimension is 0"),
        ({"delay": 0}, "delay 0"),
        ({"least": 2}, "least is 2"),
    ],
)
def test_numbers_out_of_range(changed, named: str) -> None:
    with pytest.raises(RequestError, match=named):
        from_series(NOISE, **changed)
    with pytest.raises(RequestError, match="shape"):
        from_series(NOISE.reshape(2, -1))


def test_embedding() -> None:
    assert_allclose(embed(np.arange(6), 3, 2), [[0, 2, 4], [1, 3, 5]])


@settings(max_examples=25, deadline=None)
@given(
    slope=st.floats(0.2, 2.0),
    rise=st.integers(6, 12),
    flat=st.integers(0, 10),
    offset=st.floats(-20, 5),
)
def test_a_ramp_before_a_plateau_is_found(slope, rise, flat, offset) -> None:
    curve = offset + slope * np.minimum(np.arange(rise + flat), rise - 1)
    found = linear_region(curve, r2=0.999)
    assert found is not None
    assert found.slope == pytest.approx(slope, rel=0.1)
    assert found.window[0] == 0


@settings(max_examples=25, deadline=None)
@given(level=st.floats(-5, 5), count=st.integers(5, 20))
def test_a_plateau_or_a_fall_is_no_region(level: float, count: int) -> None:
    assert linear_region(np.full(count, level)) is None
    assert linear_region(level - np.arange(count)) is None


@pytest.mark.parametrize(("r", "expected"), [(3.5, 0.0), (3.55, 0.0), (3.97, 1.0), (4.0, 1.0)])
def test_zero_one_of_the_logistic_map(r: float, expected: float) -> None:
    found = zero_one(logistic_series(r, 3000)[500:])
    assert found.k == pytest.approx(expected, abs=0.02)
    assert found.chaotic == (expected == 1.0)


def test_zero_one_equals_its_definition() -> None:
    series = logistic_series(3.9, 300)
    found = zero_one(series, frequencies=3, seed=1)
    for c, k in zip(found.frequencies, found.each, strict=True):
        j = np.arange(1, 301)
        p, q = np.cumsum(series * np.cos(j * c)), np.cumsum(series * np.sin(j * c))
        square = []
        for n in range(1, 31):
            apart = [(p[i + n] - p[i]) ** 2 + (q[i + n] - q[i]) ** 2 for i in range(270)]
            swing = series.mean() ** 2 * (1 - np.cos(n * c)) / (1 - np.cos(c))
            square.append(np.mean(apart) - swing)
        assert k == pytest.approx(np.corrcoef(np.arange(1, 31), square)[0, 1], abs=1e-9)


def test_zero_one_undefined() -> None:
    assert zero_one(np.ones(200)).reason == "constant"
    assert zero_one(np.arange(50)).reason == "too_few_points"
    assert zero_one([*NOISE, np.inf]).reason == "diverged"
    assert not zero_one(np.ones(200)).chaotic
    with pytest.raises(RequestError, match="shape"):
        zero_one(NOISE.reshape(2, -1))


@pytest.mark.parametrize(("r", "expected"), [(2.8, 1), (3.2, 2), (3.5, 4), (3.55, 8), (4.0, 0)])
def test_period_of_the_logistic_map(r: float, expected: int) -> None:
    assert period(logistic_series(r, 6000)).period == expected


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=8), st.integers(1, 50))
def test_a_repeated_cycle_has_a_period_that_divides_it(cycle: list[float], lead: int) -> None:
    found = period([*np.linspace(5, 6, lead), *(cycle * 80)], longest=8, tolerance=1e-12, tail=64)
    assert found.period > 0
    assert len(cycle) % found.period == 0
    assert found.mismatch[len(cycle) - 1] <= 1e-12


def test_period_undefined() -> None:
    assert period(np.arange(20.0)).reason == "too_few_points"
    assert period([*np.zeros(500), np.nan]).reason == "diverged"
    assert period(NOISE).period == 0
    with pytest.raises(RequestError):
        period(NOISE, longest=0)


def test_autocorrelation() -> None:
    three = autocorrelation(np.tile([0.0, 1.0, 5.0], 200), longest=4)
    assert three.values[2] == pytest.approx(1.0, abs=0.02)
    assert three.values[0] == pytest.approx(-0.5, abs=0.02)
    noise = autocorrelation(NOISE)
    assert (noise.values > 2 * noise.low).all()
    assert (noise.values < 2 * noise.high).all()
    assert three.high < 0.2
    assert autocorrelation(np.ones(100)).reason == "constant"
    assert autocorrelation(np.arange(10.0)).reason == "too_few_points"
    with pytest.raises(RequestError):
        autocorrelation(NOISE, shuffles=0)


def lorenz(length: int) -> np.ndarray:
    def flow(_: float, s: np.ndarray) -> list[float]:
        x, y, z = s
        return [10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z]

    moments = np.arange(20, 20 + 0.05 * length, 0.05)[:length]
    span = (0, float(moments[-1]))
    return solve_ivp(flow, span, [1, 1, 1.2], t_eval=moments, rtol=1e-9, atol=1e-9).y[0]


@pytest.mark.slow
def test_the_transient_of_a_flow_is_no_exponent() -> None:
    series = lorenz(6000)
    short = from_series(series, dimension=3, delay=2, theiler=20, horizon=20)
    # before: 2.1 per unit of time, with an r2 of 0.996
    assert (short.reason, math.isnan(short.exponent)) == ("no_linear_region", True)
    found = from_series(series, dimension=3, delay=2, theiler=20, horizon=60)
    assert found.window[0] > 4
    assert found.exponent / 0.05 == pytest.approx(0.906, rel=0.1)
    assert found.low / 0.05 <= 0.906 <= found.high / 0.05


def test_the_interval_holds_the_slope_and_narrows_with_the_series() -> None:
    x = [0.3]
    for _ in range(7999):
        x.append(4 * x[-1] * (1 - x[-1]))
    widths = []
    for length in (2000, 8000):
        found = from_series(x[:length], dimension=1, horizon=10)
        assert found.low < found.exponent < found.high
        widths.append(found.high - found.low)
    assert widths[1] < widths[0]
