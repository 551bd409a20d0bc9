from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import weight_space as slow
from scipy.sparse.linalg import ArpackNoConvergence

from wingbeat.errors import RequestError
from wingbeat.metrics import gram, squared_distances, trajectory_pca
from wingbeat.metrics.pca import leading_eigenvectors, oriented


def _trajectory(n=40, size=30, seed=0):
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.normal(size=(n, size)), axis=0)


def test_equals_the_covariance_eigenvectors():
    points = _trajectory()
    pca = trajectory_pca(points, 5)
    values, _ = slow.covariance_eigen(points)
    np.testing.assert_allclose(pca.scores, slow.scores(points, 5), atol=1e-10)
    np.testing.assert_allclose(pca.explained, values[:5] / values.sum(), rtol=1e-10)


def test_gram_tensor_and_points_agree():
    points = _trajectory()
    expected = trajectory_pca(points, 3).scores
    for centre in ("none", "first", "mean"):
        found = trajectory_pca(gram(points, centre=centre), 3, precomputed=True).scores
        np.testing.assert_allclose(found, expected, atol=1e-9)
    np.testing.assert_allclose(trajectory_pca(torch.tensor(points), 3).scores, expected)


def test_scores_are_centred_orthogonal_and_keep_all_distances():
    points = _trajectory(n=12)
    pca = trajectory_pca(points, 12)
    np.testing.assert_allclose(pca.scores.mean(axis=0), 0, atol=1e-11)
    products = pca.scores.T @ pca.scores
    np.testing.assert_allclose(products, np.diag(np.diagonal(products)), atol=1e-8)
    np.testing.assert_allclose(
        squared_distances(gram(pca.scores)), squared_distances(gram(points)), rtol=1e-9, atol=1e-8
    )
    assert pca.explained.sum() == pytest.approx(1.0)


@settings(max_examples=40, deadline=None)
@given(
    points=hnp.arrays(
        np.float64, st.tuples(st.integers(2, 6), st.integers(1, 6)), elements=st.integers(-9, 9)
    )
)
def test_shares_fall_and_signs_are_fixed(points):
    n = len(points)
    pca = trajectory_pca(points, n)
    if np.isnan(pca.explained).any():
        assert (points == points[0]).all()
        assert (pca.scores == 0).all()
        return
    assert (np.diff(pca.explained) <= 1e-12).all()
    assert pca.explained.sum() == pytest.approx(1.0)
    for column in pca.scores.T:
        assert column.max() >= (1 - 1e-8) * -column.min()


def test_rotation_and_shift_change_nothing():
    points = _trajectory()
    q, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(30, 30)))
    expected = trajectory_pca(points, 4).scores
    np.testing.assert_allclose(trajectory_pca(points @ q + 5.0, 4).scores, expected, atol=1e-9)


def test_many_points_take_the_iterative_path_and_agree():
    points = _trajectory(n=300, size=25)
    g = gram(points)
    values, vectors = leading_eigenvectors(g, 4)
    exact, exact_vectors = np.linalg.eigh(g)
    np.testing.assert_allclose(values, exact[::-1][:4], rtol=1e-12)
    overlap = np.abs((vectors * exact_vectors[:, ::-1][:, :4]).sum(axis=0))
    np.testing.assert_allclose(overlap, 1.0, atol=1e-11)
    again = leading_eigenvectors(g, 4)
    assert np.array_equal(again[0], values)
    assert np.array_equal(again[1], vectors)


@pytest.mark.parametrize("rank", [1, 2])
def test_many_points_of_low_rank(rank):
    points = np.zeros((400, 6))
    points[:, :rank] = np.random.default_rng(2).normal(size=(400, rank))
    pca = trajectory_pca(points, 3)
    assert (pca.scores[:, rank:] == 0.0).all()
    assert pca.explained[:rank].sum() == pytest.approx(1.0, abs=1e-12)


def test_without_convergence_the_dense_solver_answers(monkeypatch):
    def fail(*args, **kwargs):
        raise ArpackNoConvergence("no", np.zeros(0), np.zeros((0, 0)))

    g = gram(_trajectory(n=300))
    expected = leading_eigenvectors(g, 2)[0]
    monkeypatch.setattr("scipy.sparse.linalg.eigsh", fail)
    np.testing.assert_allclose(leading_eigenvectors(g, 2)[0], expected, rtol=1e-12)


def test_ties_in_magnitude_are_broken_by_the_first():
    assert oriented(np.array([[-1.0], [1.0 + 1e-15]])).ravel()[0] == 1.0


def test_undefined_is_nan_and_not_zero():
    assert np.isnan(trajectory_pca(np.ones((3, 4)), 2).explained).all()
    diverged = trajectory_pca(np.array([[0.0, 1.0], [np.nan, 1.0]]), 1)
    assert np.isnan(diverged.scores).all()
    assert np.isnan(diverged.explained).all()


def test_bad_requests_are_refused():
    with pytest.raises(RequestError, match="k is 5; 3 points"):
        trajectory_pca(np.zeros((3, 9)), 5)
    with pytest.raises(RequestError, match="k is 0"):
        trajectory_pca(np.zeros((3, 9)), 0)
    with pytest.raises(RequestError, match=r"\(2, 3, 4\)"):
        trajectory_pca(np.zeros((2, 3, 4)), 1)
