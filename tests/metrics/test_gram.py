from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import weight_space as slow

from wingbeat.errors import RequestError
from wingbeat.metrics import centred, gram, squared_distances
from wingbeat.metrics.blocks import as_float64, blocks

POINTS = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 6), st.integers(1, 7)),
    elements=st.floats(-100, 100, allow_subnormal=False),
)


@pytest.mark.parametrize("centre", ["none", "first", "mean"])
@settings(max_examples=60, deadline=None)
@given(points=POINTS)
def test_equals_the_loops(centre, points):
    expected = slow.gram(points, centre)
    scale = 1e-13 * max(1.0, np.abs(slow.gram(points, "none")).max())
    np.testing.assert_allclose(gram(points, centre=centre), expected, rtol=0, atol=scale)


@settings(max_examples=60, deadline=None)
@given(points=POINTS)
def test_is_symmetric_and_free_of_the_order_of_points(points):
    g = gram(points)
    assert np.array_equal(g, g.T)
    order = np.random.default_rng(0).permutation(len(points))
    np.testing.assert_allclose(gram(points[order]), g[np.ix_(order, order)], atol=1e-10)


@pytest.mark.parametrize("centre", ["first", "mean"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_identical_points_give_exact_zeros(centre, dtype):
    row = np.random.default_rng(0).normal(size=1001).astype(dtype) * 7
    g = gram(np.repeat(row[None], 5, axis=0), centre=centre)
    assert (g == 0.0).all()
    assert (squared_distances(g) == 0.0).all()


def test_tiny_distances_far_from_zero_keep_their_precision():
    rng = np.random.default_rng(1)
    base = 1e3 * rng.normal(size=5000)
    nudged = base + 1e-8 * rng.normal(size=(4, 5000))
    exact = [slow.distance(nudged[0], other) ** 2 for other in nudged]
    for centre in ("first", "mean"):
        found = squared_distances(gram(nudged, centre=centre))[0]
        np.testing.assert_allclose(found, exact, rtol=1e-12)


def test_float32_inputs_are_subtracted_exactly():
    a = np.float32(1.0)
    b = np.nextafter(a, np.float32(2.0))
    assert gram(np.array([[a], [b]]), centre="first")[1, 1] == (2.0**-23) ** 2


def test_blocks_per_tensor_equal_one_matrix():
    points = np.random.default_rng(2).normal(size=(6, 40))
    parts = [points[:, :1], points[:, 1:33], points[:, 33:]]
    for centre in ("none", "first", "mean"):
        whole = gram(points, centre=centre)
        np.testing.assert_allclose(gram(iter(parts), centre=centre), whole, rtol=1e-12, atol=1e-12)


def test_leading_axes_are_separate_matrices():
    points = np.random.default_rng(3).normal(size=(3, 2, 5, 11))
    found = gram(points)
    assert found.shape == (3, 2, 5, 5)
    np.testing.assert_allclose(found[2, 1], gram(points[2, 1]), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_tensors_of_any_float_type(dtype):
    points = torch.randn(4, 300, generator=torch.Generator().manual_seed(0)).to(dtype)
    expected = gram(points.to(torch.float64).numpy())
    assert np.array_equal(gram(points.requires_grad_()), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn])
def test_every_value_of_a_narrow_type_is_widened_exactly(dtype):
    integers = torch.int8 if dtype.itemsize == 1 else torch.int16
    limits = torch.iinfo(integers)
    every = torch.arange(limits.min, limits.max + 1, dtype=torch.int32).to(integers).view(dtype)
    np.testing.assert_array_equal(as_float64(every), every.to(torch.float64).numpy())
    some = every.reshape(2, -1)[:, 1:5]
    np.testing.assert_array_equal(as_float64(some), some.to(torch.float64).numpy())


def test_many_blocks_equal_few(monkeypatch):
    points = np.random.default_rng(4).normal(size=(3, 101))
    few = gram(points)
    monkeypatch.setattr("wingbeat.metrics.blocks.blocks.__kwdefaults__", {"numbers": 21})
    np.testing.assert_allclose(gram(points), few, rtol=1e-12, atol=1e-12)


def test_a_diverged_point_marks_its_own_row_only():
    points = np.array([[0.0, 0.0], [1.0, np.inf], [1.0, 2.0]])
    g = gram(points, centre="first")
    assert g[2, 2] == 5.0
    assert not np.isfinite(squared_distances(g)[1, 2])
    assert np.isnan(gram(points)).any()


def test_squared_distances_never_fall_below_zero():
    close = np.array([[1.0, 1.0 + 1e-16], [1.0 + 1e-16, 1.0 - 1e-16]])
    found = squared_distances(close)
    assert (found >= 0.0).all()
    assert (np.diagonal(found) == 0.0).all()


def test_centring_the_matrix_equals_centring_the_points():
    points = np.random.default_rng(5).normal(size=(7, 20)) + 3.0
    np.testing.assert_allclose(centred(gram(points, centre="none")), gram(points), atol=1e-11)


def test_blocks_cover_every_parameter_once():
    points = np.arange(34.0).reshape(2, 17)
    assert np.array_equal(np.concatenate(list(blocks(points, numbers=6)), axis=-1), points)


@pytest.mark.parametrize(
    ("points", "centre", "word"),
    [
        (np.zeros(3), "mean", "(3,)"),
        (np.zeros((2, 2)), "median", "median"),
        (np.zeros((0, 2)), "mean", "(0, 2)"),
        ([], "mean", "no block"),
        ([np.zeros((2, 2)), np.zeros((3, 2))], "mean", "(3, 3)"),
        (np.zeros((2, 2), complex), "mean", "complex"),
        (torch.zeros(2, 2, dtype=torch.complex64), "mean", "complex"),
    ],
)
def test_bad_requests_name_what_is_wrong(points, centre, word):
    with pytest.raises(RequestError, match=word.replace("(", r"\(").replace(")", r"\)")):
        gram(points, centre=centre)


def test_a_matrix_that_is_not_square_is_refused():
    with pytest.raises(RequestError, match="2, 3"):
        squared_distances(np.zeros((2, 3)))
    with pytest.raises(RequestError, match="no axis"):
        list(blocks(np.float64(1.0)))
    with pytest.raises(RequestError, match="<U1"):
        as_float64(np.array(["a"]))
