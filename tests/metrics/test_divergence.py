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
from wingbeat.metrics.divergence import LN2, js, kl, logit_correlation

PAIRS = hnp.arrays(
    np.float64,
    st.tuples(st.just(2), st.integers(1, 6), st.integers(1, 5)),
    elements=st.floats(-30, 30, allow_subnormal=False),
)


@settings(max_examples=100, deadline=None)
@given(pair=PAIRS)
def test_equal_the_loops_and_keep_their_ranges(pair):
    a, b = pair
    assert kl(a, b) == pytest.approx(slow.kl(a.tolist(), b.tolist()), rel=1e-9, abs=1e-12)
    assert js(a, b) == pytest.approx(slow.js(a.tolist(), b.tolist()), rel=1e-9, abs=1e-12)
    assert kl(a, b) >= 0
    assert 0 <= js(a, b) <= LN2
    assert js(a, b) == pytest.approx(float(js(b, a)), rel=1e-12, abs=1e-15)
    assert kl(a, a) == 0
    assert js(a, a) == 0


@settings(max_examples=50, deadline=None)
@given(pair=PAIRS, shift=st.floats(-5, 5))
def test_a_shift_of_all_logits_changes_nothing(pair, shift):
    a, b = pair
    assert kl(a + shift, b) == pytest.approx(float(kl(a, b)), rel=1e-8, abs=1e-10)
    assert js(a, b + shift) == pytest.approx(float(js(a, b)), rel=1e-8, abs=1e-10)


def test_closed_forms_for_two_classes():
    p, q = 0.8, 0.3
    a, b = np.log([[p, 1 - p]]), np.log([[q, 1 - q]])
    expected = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    assert kl(a, b) == pytest.approx(expected, abs=1e-12)
    m = (p + q) / 2

    def entropy(x):
        return -x * math.log(x) - (1 - x) * math.log(1 - x)

    assert js(a, b) == pytest.approx(entropy(m) - (entropy(p) + entropy(q)) / 2, abs=1e-12)


def test_disjoint_predictions_reach_ln_2():
    a = np.array([[1000.0, 0.0]])
    assert js(a, a[:, ::-1]) == pytest.approx(LN2, abs=1e-12)
    assert kl(a, a[:, ::-1]) == pytest.approx(1000.0)


def test_correlation_of_logits():
    generator = np.random.default_rng(0)
    a = generator.normal(size=(50, 4))
    b = 0.5 * a + generator.normal(size=(50, 4)) + generator.normal(size=(50, 1))
    expected = slow.logit_correlation(a.tolist(), b.tolist())
    assert logit_correlation(a, b) == pytest.approx(expected, abs=1e-12)
    assert logit_correlation(a, -3 * a) == pytest.approx(-1, abs=1e-12)
    assert logit_correlation(a, 2 * a + 7) == pytest.approx(1, abs=1e-12)
    assert np.isnan(logit_correlation(a, np.ones((50, 4))))


def test_leading_axes_broadcast_for_tensors_of_any_type():
    scores = torch.randn(3, 7, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    for measure in (kl, js, logit_correlation):
        found = measure(scores[:1], scores)
        assert found.shape == (3,)
        assert found[0] == pytest.approx(1.0 if measure is logit_correlation else 0.0)
        for i in range(3):
            assert found[i] == pytest.approx(float(measure(scores[0], scores[i])), abs=1e-12)


@pytest.mark.parametrize("measure", [kl, js, logit_correlation])
def test_undefined_is_nan_and_bad_shapes_are_refused(measure):
    bad = np.zeros((2, 3, 2))
    bad[1, 0, 0] = np.nan
    bad[0, :, 0] = 1.0
    found = measure(bad[0], bad)
    assert np.isfinite(found[0])
    assert np.isnan(found[1])
    assert np.isnan(measure(np.zeros((0, 2)), np.zeros((0, 2))))
    with pytest.raises(RequestError, match="same samples"):
        measure(np.zeros((3, 2)), np.zeros((4, 2)))
    with pytest.raises(RequestError, match="samples, classes"):
        measure(np.zeros(3), np.zeros(3))
