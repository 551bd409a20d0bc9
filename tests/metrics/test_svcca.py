"""SVCCA against canonical correlations from covariances, and its symmetries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import kernels as slow

from wingbeat.errors import CONSTANT, DIVERGED, TOO_FEW_SAMPLES, RequestError
from wingbeat.metrics.svcca import svcca


def normal(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


@pytest.mark.parametrize(("d", "e"), [(1, 1), (3, 3), (2, 5)])
def test_with_all_variance_it_is_the_mean_canonical_correlation(d, e):
    x, y = normal(40, d), normal(40, e, 1)
    y[:, 0] += x[:, 0]
    found, expected = svcca(x, y, variance=1.0), slow.canonical(x, y)
    np.testing.assert_allclose(found.correlations, expected, atol=1e-9)
    assert found.similarity == pytest.approx(expected.mean(), abs=1e-9)
    assert found.distance == pytest.approx(1 - expected.mean(), abs=1e-9)
    assert found.kept == (d, e)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), factor=st.floats(1e-3, 1e3), shift=st.floats(-50, 50))
def test_rotation_order_one_factor_and_a_shift_change_nothing(seed, factor, shift):
    x, y = normal(30, 4, seed), normal(30, 3, seed + 1)
    rotation = np.linalg.qr(normal(4, 4, seed + 2))[0]
    rows = np.random.default_rng(seed).permutation(30)
    value = svcca(x, y).similarity
    assert svcca((factor * x @ rotation + shift)[rows], y[rows]).similarity == pytest.approx(
        value, abs=1e-6
    )
    assert svcca(y, x).similarity == pytest.approx(value, abs=1e-9)
    assert 0 <= value <= 1
    assert svcca(x, x @ rotation).similarity == pytest.approx(1.0, abs=1e-9)


def test_directions_of_little_variance_are_dropped():
    x, noise = normal(60, 2), normal(60, 3, 1)
    first, second = np.hstack([x, 1e-4 * noise]), np.hstack([x, 1e-4 * noise[:, ::-1] ** 2])
    found = svcca(first, second)
    assert found.kept == (2, 2)
    assert found.similarity == pytest.approx(1.0, abs=1e-6)
    assert svcca(first, second, variance=1.0).similarity < 0.95


def test_what_has_no_value_says_why():
    x = normal(10, 3)
    assert svcca(x, np.ones((10, 2))).reason == CONSTANT
    assert svcca(x, np.where(x > 1, np.inf, x)).reason == DIVERGED
    assert svcca(x[:2], x[:2]).reason == TOO_FEW_SAMPLES
    crowded = svcca(normal(10, 6), normal(10, 6, 1), variance=1.0)
    assert crowded.reason == TOO_FEW_SAMPLES
    assert crowded.kept == (6, 6)
    assert np.isnan(crowded.similarity)
    assert np.isnan(crowded.distance)


@pytest.mark.parametrize("variance", [0.0, -1.0, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused(variance):
    with pytest.raises(RequestError, match="variance"):
        svcca(normal(9, 2), normal(9, 2), variance)
