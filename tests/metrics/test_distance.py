from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import weight_space as slow

from wingbeat.errors import RequestError
from wingbeat.metrics import cosine, l2, relative_l2

PAIRS = hnp.arrays(
    np.float64,
    st.tuples(st.just(2), st.integers(1, 9)),
    elements=st.floats(-1e3, 1e3, allow_subnormal=False).map(lambda x: x if abs(x) > 1e-6 else 0.0),
)


@settings(max_examples=100, deadline=None)
@given(pair=PAIRS)
def test_equal_the_loops(pair):
    a, b = pair
    np.testing.assert_allclose(l2(a, b), slow.distance(a, b), rtol=1e-13, atol=0)
    if slow.norm(a) > 0:
        np.testing.assert_allclose(
            relative_l2(a, b), slow.distance(a, b) / slow.norm(a), rtol=1e-13
        )
    if slow.norm(a) > 0 and slow.norm(b) > 0:
        expected = slow.dot(a, b) / slow.norm(a) / slow.norm(b)
        np.testing.assert_allclose(cosine(a, b), expected, rtol=0, atol=1e-14)


@settings(max_examples=60, deadline=None)
@given(pair=PAIRS, scale=st.floats(0.01, 100))
def test_symmetries(pair, scale):
    a, b = pair
    assert l2(a, b) == l2(b, a)
    assert l2(a, a) == 0.0
    np.testing.assert_allclose(l2(scale * a, scale * b), scale * l2(a, b), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(cosine(scale * a, b), cosine(a, b), atol=1e-12)
    if np.any(a) and np.any(b):
        assert -1.0 <= cosine(a, b) <= 1.0


def test_rotation_changes_nothing():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 30))
    q, _ = np.linalg.qr(rng.normal(size=(30, 30)))
    for metric in (l2, relative_l2, cosine):
        np.testing.assert_allclose(metric(q @ a, q @ b), metric(a, b), rtol=1e-12)


def test_undefined_is_nan_and_not_zero():
    zero, one = np.zeros(3), np.ones(3)
    assert np.isnan(cosine(zero, one))
    assert np.isnan(cosine(one, zero))
    assert np.isnan(relative_l2(zero, one))
    assert relative_l2(one, zero) == 1.0
    assert np.isnan(l2(np.array([np.inf, 1.0]), np.array([np.inf, 1.0])))


def test_cosine_of_tiny_vectors_is_defined():
    tiny = np.full(4, 1e-140)
    assert cosine(tiny, tiny) == pytest.approx(1.0, abs=1e-15)


def test_leading_axes_broadcast_over_blocks():
    rng = np.random.default_rng(1)
    reference, replicas = rng.normal(size=(3, 1, 40_000)), rng.normal(size=(3, 5, 40_000))
    found = l2(reference, replicas)
    assert found.shape == (3, 5)
    expected = np.linalg.norm(reference - replicas, axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert relative_l2(reference, replicas).shape == cosine(reference[0, 0], replicas).shape


def test_tensors_and_arrays_mix():
    a = torch.tensor([1.0, 2.0], dtype=torch.bfloat16)
    assert float(l2(a, np.array([1.0, 1.0]))) == 1.0


@pytest.mark.parametrize("shapes", [((3,), (4,)), ((2, 3), (4, 3)), ((), (3,))])
def test_shapes_that_do_not_fit_are_named(shapes):
    with pytest.raises(RequestError, match="have shapes"):
        l2(np.zeros(shapes[0]), np.zeros(shapes[1]))
