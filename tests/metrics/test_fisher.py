from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from wingbeat.errors import RequestError
from wingbeat.metrics import blocks
from wingbeat.metrics.fisher import fisher_precision, gaussian_kl


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 6))
def test_equals_the_determinants_and_traces(seed, size):
    generator = np.random.default_rng(seed)
    means, logs = generator.normal(size=(2, 2, size))
    sharp = np.exp(2 * logs)
    found = gaussian_kl(means[0], sharp[0], means[1], sharp[1])
    first, second = np.diag(1 / sharp[0]), np.diag(1 / sharp[1])
    away = means[1] - means[0]
    inverse = np.linalg.inv(second)
    dets = np.log(np.linalg.det(second) / np.linalg.det(first))
    expected = 0.5 * (np.trace(inverse @ first) - size + away @ inverse @ away + dets)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-10)
    assert found >= 0
    assert gaussian_kl(means[0], sharp[0], means[0], sharp[0]) == 0


def test_agrees_with_sampling():
    generator = np.random.default_rng(0)
    a, b = np.array([0.3, -0.2]), np.array([0.0, 0.1])
    la, lb = np.array([2.0, 0.5]), np.array([1.0, 1.5])
    draws = a + generator.normal(size=(400_000, 2)) / np.sqrt(la)
    logs = [multivariate_normal(m, np.diag(1 / s)).logpdf(draws) for m, s in ((a, la), (b, lb))]
    assert gaussian_kl(a, la, b, lb) == pytest.approx(np.mean(logs[0] - logs[1]), abs=0.01)


def test_nearly_equal_precisions_keep_their_digits():
    small = 1e-9
    found = gaussian_kl(np.zeros(1), np.ones(1), np.zeros(1), np.array([1 + small]))
    assert found == pytest.approx(small**2 / 4, rel=1e-3)


def test_blocks_axes_and_tensors():
    size = blocks.BLOCK_NUMBERS + 3
    means = torch.zeros(2, size, dtype=torch.float32)
    means[1] = 2.0
    ones = torch.ones(2, size)
    found = gaussian_kl(means[:1], ones, means, ones)
    assert found.tolist() == [0.0, 2.0 * size]


def test_undefined_is_nan():
    one = np.ones(2)
    assert np.isnan(gaussian_kl(one, one, one * np.nan, one))
    assert np.isnan(gaussian_kl(one, one, one, np.array([1.0, 0.0])))


def test_precision():
    found = fisher_precision(np.array([[0.0, 2.0]]), samples=50, prior=0.5)
    assert found.tolist() == [[0.5, 100.5]]


def test_bad_requests_are_refused():
    one = np.ones(2)
    with pytest.raises(RequestError, match="shapes"):
        gaussian_kl(one, one, np.ones(3), one)
    with pytest.raises(RequestError, match="negative"):
        fisher_precision(-one, 5)
    with pytest.raises(RequestError, match="samples"):
        fisher_precision(one, 0)
    for prior in (0.0, -1.0, np.inf):
        with pytest.raises(RequestError, match="prior"):
            fisher_precision(one, 5, prior)
