"""CKA against closed forms, published facts and a slow version with explicit centring matrices."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import kernels as slow

from wingbeat.errors import CONSTANT, DIVERGED, TOO_FEW_SAMPLES, RequestError
from wingbeat.metrics import hsic_terms
from wingbeat.metrics.cka import (
    LARGEST_ANGLE,
    LEAST_SAMPLES,
    CKASums,
    angular_cka,
    cka,
    hsic,
)
from wingbeat.metrics.features import why_undefined
from wingbeat.metrics.hsic_terms import centred_gram

ESTIMATORS = tuple(LEAST_SAMPLES)
every_estimator = pytest.mark.parametrize("estimator", ESTIMATORS)


def normal(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def rotation(d, seed=0):
    return np.linalg.qr(normal(d, d, seed))[0]


@every_estimator
@pytest.mark.parametrize(("n", "d", "e"), [(4, 1, 1), (7, 3, 5), (30, 4, 4), (25, 60, 8)])
def test_equals_the_definition_with_centring_matrices(estimator, n, d, e):
    x, y = normal(n, d), normal(n, e, 1) + 2.0
    y[:, 0] += x[:, 0]
    expected = slow.hsic(x, y, estimator)
    assert hsic(x, y, estimator) == pytest.approx(expected, rel=1e-10, abs=1e-13)
    assert cka(x, y, estimator) == pytest.approx(slow.cka(x, y, estimator), rel=1e-9, abs=1e-12)
    assert angular_cka(x, y, estimator) == math.acos(cka(x, y, estimator))


@every_estimator
@pytest.mark.parametrize(("n", "d"), [(100, 10), (60, 200)])
def test_rotation_one_factor_and_a_shift_change_nothing(estimator, n, d):
    x = normal(n, d)
    y = 3.7 * x @ rotation(d, 1) - 5.0
    assert cka(x, y, estimator) == pytest.approx(1.0, abs=1e-6)
    assert angular_cka(x, y, estimator) < 2e-3
    assert angular_cka(x, x.copy(), estimator) == 0.0


@pytest.mark.parametrize(
    ("n", "d", "biased", "zero"),
    [(100, 10, 0.091, 0), (100, 100, 0.50, 0), (100, 1000, 0.909, 0.092)],
)
def test_independent_gaussians(n, d, biased, zero):
    draws = [(normal(n, d, s), normal(n, d, s + 100)) for s in range(12 if d < 1000 else 6)]
    found = {e: np.mean([cka(x, y, e) for x, y in draws]) for e in ESTIMATORS}
    assert found["biased"] == pytest.approx(biased, abs=0.02)
    assert found["biased"] == pytest.approx(d / (n + d), abs=0.02)
    assert found["debiased"] == pytest.approx(0.0, abs=0.02)
    if zero:
        assert found["zero_diagonal"] == pytest.approx(zero, abs=0.02)


def test_the_debiased_hsic_is_unbiased():
    draws = [hsic(normal(8, 2, s), normal(8, 2, s + 5000)) for s in range(1000)]
    error = np.std(draws) / math.sqrt(len(draws))
    assert abs(np.mean(draws)) < 4 * error
    biased = np.mean([hsic(normal(8, 2, s), normal(8, 2, s + 5000), "biased") for s in range(200)])
    assert biased > 10 * error


FEATURES = hnp.arrays(
    np.float64,
    st.tuples(st.integers(4, 9), st.integers(1, 12)),
    elements=st.floats(-100, 100, allow_subnormal=False).map(lambda v: round(v, 3)),
)


@settings(max_examples=60, deadline=None)
@given(x=FEATURES, seed=st.integers(0, 1000), estimator=st.sampled_from(ESTIMATORS))
def test_symmetric_bounded_and_blind_to_order(x, seed, estimator):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(len(x), int(rng.integers(1, 6))))
    value = cka(x, y, estimator)
    rows, columns = rng.permutation(len(x)), rng.permutation(x.shape[1])
    moved = cka(x[rows][:, columns], y[rows], estimator)
    if np.isnan(value):
        assert np.isnan(moved) or x.std() < 1e-3 or estimator != "biased"
        return
    assert cka(y, x, estimator) == pytest.approx(value, abs=1e-9)
    assert moved == pytest.approx(value, abs=1e-6)
    assert -1 <= value <= 1
    assert 0 <= angular_cka(x, y, estimator) <= LARGEST_ANGLE[estimator]


@every_estimator
def test_units_do_not_matter_even_at_the_ends_of_the_range(estimator):
    x, y = normal(20, 3), normal(20, 3, 1)
    expected = cka(x, y, estimator)
    for unit in (1e-200, 1e-30, 1e30, 1e200):
        assert cka(x * unit, y, estimator) == pytest.approx(expected, rel=1e-9)


def test_an_offset_costs_no_precision():
    x, y = normal(40, 3), normal(40, 3, 1)
    assert cka(x + 1e6, y) == pytest.approx(cka(x, y), abs=1e-8)
    thin = torch.as_tensor(x, dtype=torch.float32) + 100
    wide = thin.double().numpy()
    assert cka(thin, y) == cka(wide, y)


def layers_of(n, seed):
    x = normal(n, 6, seed)
    return [x, np.tanh(x @ rotation(6)[:, :4]), np.maximum(x, 0) @ normal(6, 70, 3)]


@every_estimator
def test_one_minibatch_with_everything_is_the_full_batch(estimator):
    first, second = layers_of(50, 0), layers_of(50, 9)[:2]
    sums = CKASums.empty(3, 2, estimator).add(first, second)
    expected = [[cka(a, b, estimator) for b in second] for a in first]
    np.testing.assert_allclose(sums.cka(), expected, atol=1e-12)
    np.testing.assert_allclose(sums.angular_cka(), np.arccos(expected), atol=1e-9)
    assert (sums.samples, sums.left_out) == (50, 0)


@every_estimator
def test_minibatches_average_their_own_hsic(estimator):
    first, second = layers_of(50, 0), layers_of(50, 9)
    sums = CKASums.empty(3, 3, estimator)
    for rows in (slice(0, 20), slice(20, 40), slice(40, 48), slice(48, 49)):
        sums = sums.add([x[rows] for x in first], [x[rows] for x in second])
    parts = [slice(0, 20), slice(20, 40), slice(40, 48)]

    def mean(a, b):
        return sum(len(a[p]) * slow.hsic(a[p], b[p], estimator) for p in parts) / 48

    for i, a in enumerate(first):
        for j, b in enumerate(second):
            expected = mean(a, b) / math.sqrt(mean(a, a) * mean(b, b))
            assert sums.cka()[i, j] == pytest.approx(expected, abs=1e-10)
    assert (sums.samples, sums.left_out) == (48, 1)


def test_grams_give_the_same_sums_as_features():
    first, second = layers_of(30, 0), layers_of(30, 9)[:2]
    grams = [np.stack([centred_gram(x) for x in part]) for part in (first, second)]
    found = CKASums.empty(3, 2).add_grams(*grams)
    np.testing.assert_allclose(
        found.cka(), CKASums.empty(3, 2).add(first, second).cka(), atol=1e-12
    )
    twin = CKASums.empty(3, 3).add_grams(grams[0], grams[0].copy())
    assert (np.diag(twin.angular_cka()) == 0).all()


def test_blocks_change_nothing(monkeypatch):
    wide, narrow = (normal(30, 200), normal(30, 90, 1)), (normal(200, 6), normal(200, 9, 1))
    expected = [cka(*wide), cka(*narrow)]
    monkeypatch.setattr(hsic_terms, "BLOCK_NUMBERS", 50)
    assert [cka(*wide), cka(*narrow)] == pytest.approx(expected, rel=1e-10)


@every_estimator
def test_what_has_no_value_says_why(estimator):
    x, least = normal(10, 3), LEAST_SAMPLES[estimator]
    dead, broken = np.full((10, 2), 0.1), np.where(x > 1, np.nan, x)
    sums = CKASums.empty(3, 1, estimator).add([x, dead, broken], [x])
    assert sums.reasons()[:, 0].tolist() == ["", CONSTANT, DIVERGED]
    assert np.isnan(sums.cka()[:, 0]).tolist() == [False, True, True]
    few = CKASums.empty(1, 1, estimator).add([x[: least - 1]], [x[: least - 1]])
    assert few.reasons().tolist() == [[TOO_FEW_SAMPLES]]
    assert few.left_out == least - 1
    for y, n, reason in ((x, 10, ""), (dead, 10, CONSTANT), (broken, 10, DIVERGED)):
        assert why_undefined(x[:n], y[:n], least) == reason
        assert np.isnan(cka(x, y, estimator)) == bool(reason)
    assert why_undefined(x[: least - 1], x[: least - 1], least) == TOO_FEW_SAMPLES
    assert np.isnan(hsic(x[:1], x[:1], estimator))


def test_equidistant_samples_have_no_debiased_value():
    apart = np.eye(6)  # every pair of samples is equally far apart: no structure but the bias
    sums = CKASums.empty(1, 1).add([apart], [normal(6, 2)])
    assert sums.reasons().tolist() == [[CONSTANT]]
    assert np.isnan(cka(apart, normal(6, 2)))
    assert cka(apart, apart, "biased") == 1.0


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros(5), np.zeros((5, 1)), r"shape \(5,\); give \(samples, features\)"),
        (np.zeros((5, 0)), np.zeros((5, 1)), "give"),
        (np.zeros((5, 1)), np.zeros((6, 1)), "same samples"),
        (np.zeros((5, 1), dtype=complex), np.zeros((5, 1)), "real numbers"),
    ],
)
def test_wrong_features_are_refused(x, y, message):
    with pytest.raises(RequestError, match=message):
        cka(x, y)


def test_wrong_requests_are_refused():
    x = normal(5, 2)
    with pytest.raises(RequestError, match=r"'unbiased'.*'debiased'"):
        cka(x, x, "unbiased")
    with pytest.raises(RequestError, match="2 and 1 layers"):
        CKASums.empty(1, 1).add([x, x], [x])
    with pytest.raises(RequestError, match=r"\[4, 5\] samples"):
        CKASums.empty(2, 1).add([x, x[:4]], [x])
