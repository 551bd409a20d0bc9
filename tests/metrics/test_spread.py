from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import weight_space as slow

from wingbeat.errors import RequestError
from wingbeat.metrics import convergence_ratio, gram, spread, spread_from_gram
from wingbeat.stats import resample

POINTS = hnp.arrays(
    np.float64,
    st.tuples(st.integers(2, 6), st.integers(1, 7)),
    elements=st.floats(-100, 100, allow_subnormal=False),
)


@settings(max_examples=100, deadline=None)
@given(points=POINTS)
def test_equals_the_loops_both_ways(points):
    expected = slow.spread(points)
    scale = 1e-13 * np.abs(points).max()
    np.testing.assert_allclose(spread(points), expected, rtol=1e-12, atol=scale)
    np.testing.assert_allclose(spread_from_gram(gram(points)), expected, rtol=1e-7, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(points=POINTS, shift=st.floats(-10, 10), scale=st.floats(0.1, 10))
def test_symmetries(points, shift, scale):
    value = spread(points)
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.normal(size=(points.shape[1],) * 2))
    same = {"rtol": 1e-9, "atol": 1e-10}
    np.testing.assert_allclose(spread(rng.permutation(points)), value, **same)
    np.testing.assert_allclose(spread(points @ q), value, **same)
    np.testing.assert_allclose(spread(points + shift), value, **same)
    np.testing.assert_allclose(spread(scale * points), scale * value, **same)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_identical_copies_have_spread_exactly_zero(dtype):
    # deep-lyapunov 0.1.2 calls identical copies "convergent", ratio 0.22.
    path = torch.randn(4, 1, 999, generator=torch.Generator().manual_seed(0)).to(dtype)
    points = path.expand(4, 5, 999)
    assert (spread(points) == 0.0).all()
    assert (spread_from_gram(gram(points)) == 0.0).all()
    assert (spread_from_gram(gram(points), resample(5, draws=20)) == 0.0).all()
    assert np.isnan(convergence_ratio(points))


def test_a_tiny_spread_far_from_zero_keeps_its_precision():
    rng = np.random.default_rng(1)
    points = 1e3 * rng.normal(size=2000) + 1e-9 * rng.normal(size=(5, 2000))
    expected = slow.spread(points)
    assert spread(points) == pytest.approx(expected, rel=1e-12)
    assert spread_from_gram(gram(points)) == pytest.approx(expected, rel=1e-12)


def test_a_common_path_does_not_leak_into_the_ratio():
    # Half the spread after a path of length 100: deep-lyapunov 0.1.2 reports 1.000.
    rng = np.random.default_rng(2)
    apart = rng.normal(size=(6, 50))
    path = rng.normal(size=50)
    path *= 100 / np.linalg.norm(path)
    points = np.stack([apart, path + 0.5 * apart])
    assert convergence_ratio(points) == pytest.approx(0.5, rel=1e-12)


def test_a_net_of_2305_parameters_with_a_one_element_tensor():
    # 2-64-32-1: its one-element bias makes deep-lyapunov 0.1.2 fail.
    rng = np.random.default_rng(3)
    tensors = [rng.normal(size=(5, p)) for p in (128, 64, 2048, 32, 32, 1)]
    whole = np.concatenate(tensors, axis=1)
    assert whole.shape[1] == 2305
    assert spread_from_gram(gram(tensors)) == pytest.approx(float(spread(whole)), rel=1e-12)
    assert spread(tensors[-1]) == pytest.approx(float(np.std(tensors[-1])), rel=1e-13)


@pytest.mark.parametrize(
    ("ties", "loops"), [("keep", slow.weighted_spread), ("drop", slow.distinct_pair_spread)]
)
def test_bootstrap_weights_equal_repeated_points(ties, loops):
    points = np.random.default_rng(4).normal(size=(3, 5, 8))
    counts = resample(5, draws=12)
    found = spread_from_gram(gram(points), counts, ties=ties)
    assert found.shape == (12, 3)
    expected = [[loops(step, row.astype(int)) for step in points] for row in counts]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_equal_weights_give_the_plain_spread_under_both_ties():
    points = np.random.default_rng(5).normal(size=(6, 9))
    for ties in ("keep", "drop"):
        found = spread_from_gram(gram(points), np.ones((1, 6)), ties=ties)
        np.testing.assert_allclose(found, [spread(points)], rtol=1e-13)


def test_one_drawn_replica_is_zero_with_ties_and_undefined_without():
    g = gram(np.array([[0.0], [1.0]]))
    assert spread_from_gram(g, np.array([[2.0, 0.0]])) == 0.0
    assert np.isnan(spread_from_gram(g, np.array([[2.0, 0.0]]), ties="drop"))


def test_ratios_do_not_depend_on_ties():
    g = gram(np.random.default_rng(6).normal(size=(2, 7, 4)))
    counts = resample(7, draws=50)
    a, b = (spread_from_gram(g, counts, ties=ties) for ties in ("keep", "drop"))
    np.testing.assert_allclose(a[:, 1] / a[:, 0], b[:, 1] / b[:, 0], rtol=1e-12)


def test_undefined_is_nan_and_not_zero():
    assert np.isnan(spread(np.zeros((1, 4))))
    assert np.isnan(spread_from_gram(np.zeros((3, 1, 1)))).all()
    assert spread_from_gram(np.zeros((3, 1, 1)), np.ones((4, 1))).shape == (4, 3)
    assert np.isnan(convergence_ratio(np.zeros((1, 3, 2))))
    diverged = np.array([[[0.0], [1.0]], [[0.0], [np.nan]]])
    assert np.isnan(convergence_ratio(diverged))
    assert np.isnan(spread(diverged)).tolist() == [False, True]


def test_full_merging_is_zero_and_not_nan():
    assert convergence_ratio(np.array([[[0.0], [1.0]], [[2.0], [2.0]]])) == 0.0


def test_bad_requests_are_refused():
    with pytest.raises(RequestError, match="replicas, parameters"):
        spread(np.zeros(3))
    with pytest.raises(RequestError, match=r"\(4, 3\)"):
        spread_from_gram(np.zeros((2, 2)), np.ones((4, 3)))
    with pytest.raises(RequestError, match="maybe"):
        spread_from_gram(np.zeros((2, 2)), ties="maybe")
