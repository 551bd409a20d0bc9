from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import function_space as slow

from wingbeat.errors import RequestError
from wingbeat.metrics.ensemble import COMBINATIONS, diversity, ensemble


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 8), st.integers(1, 4)),
    combine=st.sampled_from(COMBINATIONS),
)
def test_equals_the_loops_and_never_loses_loss(seed, shape, combine):
    generator = np.random.default_rng(seed)
    scores = 3 * generator.normal(size=shape)
    labels = generator.integers(0, shape[2], size=shape[1])
    found = ensemble(scores, labels, combine)
    loss, accuracy, own_loss, own_accuracy = slow.ensemble(
        scores.tolist(), labels.tolist(), combine
    )
    assert found.loss == pytest.approx(loss, rel=1e-10, abs=1e-12)
    assert found.accuracy == pytest.approx(accuracy)
    np.testing.assert_allclose(found.member_loss, own_loss, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.member_accuracy, own_accuracy)
    assert found.loss_gain >= -1e-12
    assert found.loss_gain == pytest.approx(np.mean(own_loss) - loss, abs=1e-10)
    assert found.accuracy_gain == pytest.approx(accuracy - np.mean(own_accuracy))


def test_an_ensemble_of_copies_gains_nothing():
    scores = np.random.default_rng(0).normal(size=(1, 20, 3)).repeat(4, axis=0)
    found = ensemble(scores, np.zeros(20, dtype=int))
    assert found.loss_gain == pytest.approx(0, abs=1e-12)
    assert found.accuracy_gain == 0


def test_three_voters_that_err_in_turn():
    """Each is right on two of three samples, all of them together on all three."""
    scores = np.zeros((3, 3, 2))
    scores[..., 1] = 1.0
    scores[range(3), range(3)] = [1.0, 0.0]
    found = ensemble(scores, np.ones(3, dtype=int))
    assert found.accuracy == 1.0
    assert found.accuracy_gain == pytest.approx(1 / 3)


def test_diversity_of_copies_and_of_independent_errors():
    generator = np.random.default_rng(1)
    samples, classes, right = 20_000, 10, 0.8
    labels = generator.integers(0, classes, size=samples)

    def model():
        wrong = (labels + generator.integers(1, classes, size=samples)) % classes
        return np.eye(classes)[np.where(generator.random(samples) < right, labels, wrong)]

    base = model()
    found = diversity(base, np.stack([base, model(), np.eye(classes)[labels]]), labels)
    assert found.disagreement[0] == 0
    assert found.normalised[0] == 0
    both_wrong_apart = (1 - right) ** 2 * (1 - 1 / (classes - 1))
    apart = 2 * right * (1 - right) + both_wrong_apart
    assert found.normalised[1] == pytest.approx(apart / (1 - right), rel=0.05)
    assert np.isnan(found.normalised[2])
    assert found.accuracy[2] == 1


def test_undefined_is_nan():
    scores = np.zeros((2, 3, 2))
    scores[1, 0, 0] = np.inf
    found = ensemble(scores, [0, 1, 0])
    assert np.isnan([found.loss, found.accuracy, found.loss_gain, found.accuracy_gain]).all()
    assert np.isnan(ensemble(np.zeros((2, 0, 2)), []).loss)
    assert np.isnan(diversity(scores[0], scores, [0, 1, 0]).accuracy[1])


def test_bad_requests_are_refused():
    scores = np.zeros((2, 3, 2))
    with pytest.raises(RequestError, match="0 to 2, the scores have 2 classes"):
        ensemble(scores, [0, 1, 2])
    with pytest.raises(RequestError, match="one for each sample"):
        ensemble(scores, [0, 1])
    with pytest.raises(RequestError, match="one for each sample"):
        ensemble(scores, [0.0, 1.0, 0.0])
    with pytest.raises(RequestError, match="models, samples, classes"):
        ensemble(scores[0], [0, 1, 0])
    with pytest.raises(RequestError, match="did you mean 'logit'"):
        ensemble(scores, [0, 1, 0], "logits")
