from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import weight_space as slow

from wingbeat.errors import RequestError
from wingbeat.metrics import disagreement, pairwise_disagreement

SCORES = hnp.arrays(
    np.float64,
    st.tuples(st.integers(2, 4), st.integers(1, 8), st.integers(1, 4)),
    elements=st.integers(-3, 3),
)


@settings(max_examples=100, deadline=None)
@given(scores=SCORES)
def test_pairs_equal_the_loops(scores):
    found = pairwise_disagreement(scores)
    for i, a in enumerate(scores):
        for j, b in enumerate(scores):
            expected = slow.disagreement(a.tolist(), b.tolist())
            assert found[i, j] == pytest.approx(expected, abs=1e-15)
            assert disagreement(a, b) == found[i, j]
    assert np.array_equal(found, found.T)
    assert (np.diagonal(found) == 0).all()
    assert ((found >= 0) & (found <= 1)).all()


@settings(max_examples=40, deadline=None)
@given(scores=SCORES)
def test_is_a_metric_and_free_of_scale_and_shift(scores):
    found = pairwise_disagreement(scores)
    np.testing.assert_array_equal(pairwise_disagreement(3.0 * scores + 7.0), found)
    n = len(found)
    for i in range(n):
        for j in range(n):
            for k in range(n):
                assert found[i, k] <= found[i, j] + found[j, k] + 1e-12


def test_ten_of_a_hundred_changed_predictions():
    scores = np.random.default_rng(0).normal(size=(100, 5))
    other = scores.copy()
    other[:10] = np.roll(other[:10], 1, axis=1)
    assert disagreement(scores, other) == 0.1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_tensors_with_leading_axes_and_ties(dtype):
    a = torch.tensor([[[1.0, 1.0], [0.0, 2.0]]] * 3, dtype=dtype, requires_grad=True)
    b = torch.tensor([[2.0, 1.0], [2.0, 0.0]], dtype=dtype)
    assert disagreement(a, b).tolist() == [0.5, 0.5, 0.5]


def test_undefined_is_nan_and_not_zero():
    good, bad = np.eye(3), np.eye(3)
    bad[1, 2] = np.nan
    assert np.isnan(disagreement(good, bad))
    found = pairwise_disagreement(np.stack([good, bad, good]))
    assert np.isnan(found[1]).all()
    assert found[0, 2] == 0.0
    assert np.isnan(disagreement(np.zeros((0, 2)), np.zeros((0, 2))))


def test_bad_requests_are_refused():
    with pytest.raises(RequestError, match="same samples"):
        disagreement(np.zeros((3, 2)), np.zeros((4, 2)))
    with pytest.raises(RequestError, match="samples, classes"):
        disagreement(np.zeros(3), np.zeros(3))
    with pytest.raises(RequestError, match="models, samples, classes"):
        pairwise_disagreement(np.zeros((3, 2)))
