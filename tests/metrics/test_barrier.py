from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import function_space as slow

from wingbeat.errors import RequestError
from wingbeat.metrics.barrier import CONVENTIONS, alpha_grid, barrier, chord

CURVES = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 3), st.sampled_from([3, 5, 9])),
    elements=st.floats(-8, 8, allow_subnormal=False),
)


def test_double_well_has_a_barrier_of_a_quarter():
    grid = alpha_grid()
    theta = 2 * grid - 1
    found = barrier(grid, (theta**2 - 1) ** 2 / 4)
    assert abs(found.value - 0.25) < 1e-9
    assert found.alpha == 0.5


def test_thirty_even_points_would_miss_the_top():
    grid = np.linspace(0, 1, 30)
    top = max((((2 * grid - 1) ** 2 - 1) ** 2) / 4)
    assert top == pytest.approx(0.24941, abs=1e-5)
    with pytest.raises(RequestError, match="odd number"):
        barrier(grid, np.zeros(30))


@pytest.mark.parametrize(
    ("convention", "height", "place"),
    [("mean", 0.605, 0.720), ("line", 0.5, 0.5), ("argmax_raw", 0.385, 0.720)],
)
def test_the_three_published_conventions(convention, height, place):
    grid = alpha_grid(1001)
    found = barrier(grid, grid + 0.5 * np.sin(np.pi * grid), convention)
    assert found.value == pytest.approx(height, abs=1e-3)
    assert found.alpha == pytest.approx(place, abs=1e-3)


@settings(max_examples=100, deadline=None)
@given(curves=CURVES, convention=st.sampled_from(CONVENTIONS))
def test_equals_the_loops_and_has_its_ranges(curves, convention):
    grid = alpha_grid(curves.shape[-1])
    found = barrier(grid, curves, convention)
    for curve, value in zip(curves, found.value, strict=True):
        expected, _ = slow.barrier(grid.tolist(), curve.tolist(), convention)
        if convention != "argmax_raw":  # ties of the raw maximum may round apart
            assert value == pytest.approx(expected, abs=1e-12)
    line = barrier(grid, curves, "line").value
    assert (found.value >= 0).all()
    assert (line >= 0).all()
    assert (barrier(grid, curves, "argmax_raw").value <= line).all()
    half = np.abs(curves[:, 0] - curves[:, -1]) / 2
    assert (barrier(grid, curves, "mean").value >= half - 1e-12).all()


@settings(max_examples=100, deadline=None)
@given(curves=CURVES)
def test_line_and_mean_do_not_depend_on_the_direction(curves):
    grid = alpha_grid(curves.shape[-1])
    for convention in ("line", "mean"):
        there = barrier(grid, curves, convention).value
        back = barrier(grid, curves[:, ::-1], convention).value
        np.testing.assert_array_equal(there, back)


@settings(max_examples=50, deadline=None)
@given(value=st.floats(-1e6, 1e6, allow_subnormal=False), half=st.integers(1, 20))
def test_a_constant_curve_has_no_barrier_at_all(value, half):
    grid = alpha_grid(2 * half + 1)
    for convention in CONVENTIONS:
        assert barrier(grid, np.full(grid.size, value), convention).value == 0.0


@pytest.mark.parametrize("points", [3, 5, 25, 31, 1001])
def test_the_grid_is_its_own_mirror_image(points):
    grid = alpha_grid(points)
    assert (grid + grid[::-1] == 1.0).all()
    assert grid[0] == 0.0
    assert grid[-1] == 1.0
    assert 0.5 in grid
    np.testing.assert_allclose(grid, np.linspace(0, 1, points), atol=1e-15)


def test_leading_axes_tensors_and_lists():
    values = torch.rand(2, 3, 5, dtype=torch.float32)
    found = barrier([0, 0.25, 0.5, 0.75, 1], values)
    assert found.value.shape == found.alpha.shape == (2, 3)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_undefined(bad):
    found = barrier(alpha_grid(3), np.array([[0.0, bad, 0.0], [0.0, 1.0, 0.0]]))
    assert np.isnan(found.value[0])
    assert np.isnan(found.alpha[0])
    assert found.value[1] == 1.0


@pytest.mark.parametrize(
    ("alphas", "hint"),
    [
        ([0.1, 0.5, 1.0], "begin at 0"),
        ([0.0, 0.5, 0.9], "end at 1"),
        ([0.0, 1.0], "odd number"),
        ([0.0, 0.3, 0.6, 1.0], "odd number"),
        ([0.0, 0.5, 0.5, 0.7, 1.0], "ascend"),
        ([[0.0, 0.5, 1.0]], "odd number"),
    ],
)
def test_a_grid_that_carries_no_barrier_is_refused(alphas, hint):
    with pytest.raises(RequestError, match=hint):
        barrier(alphas, np.zeros(np.shape(alphas)[-1]))


def test_other_bad_requests_are_refused():
    with pytest.raises(RequestError, match="one for each"):
        barrier(alpha_grid(5), np.zeros(3))
    with pytest.raises(RequestError, match="did you mean 'line'"):
        barrier(alpha_grid(3), np.zeros(3), "lines")
    for points in (2, 4, 1, 2.5, True):
        with pytest.raises(RequestError, match="odd number"):
            alpha_grid(points)


def test_the_chord_is_exact_at_both_ends():
    curve = np.array([0.1, 5.0, 5.0, 5.0, 0.3])
    line = chord(alpha_grid(5), curve)
    assert line[0] == 0.1
    assert line[-1] == 0.3
