from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import weight_space as slow
from sklearn.decomposition import PCA as SklearnPCA

from wingbeat.errors import RequestError
from wingbeat.metrics import (
    convergence_ratio,
    gram,
    legacy_ratio,
    projected_spread,
    projected_spread_from_gram,
    projected_spread_from_scores,
    spread,
    trajectory_pca,
)


def _run(t=6, n=5, size=30, growth=1.5, path=3.0, seed=0):
    rng = np.random.default_rng(seed)
    common = np.cumsum(rng.normal(size=(t, 1, size)), axis=0) * path
    apart = rng.normal(size=(1, n, size)) * growth ** np.arange(t)[:, None, None]
    return common + apart


def _sklearn_scores(points, k):
    t, n, size = points.shape
    flat = points.reshape(t * n, size)
    return SklearnPCA(k, svd_solver="full").fit_transform(flat).reshape(t, n, k)


@pytest.mark.parametrize("k", [1, 2, 3, 10])
def test_equals_the_loops(k):
    points = _run()
    found = projected_spread(points, k)
    expected = slow.projected_spread(points, k)
    np.testing.assert_allclose(found.spread, expected, rtol=1e-9)
    np.testing.assert_allclose(found.kept, (expected / spread(points)) ** 2, rtol=1e-9)
    assert found.ratio == pytest.approx(expected[-1] / expected[0], rel=1e-9)


def test_equals_scikit_learn():
    points = _run(seed=1)
    scores = _sklearn_scores(points, 3)
    expected = np.sqrt(scores.var(axis=1).sum(axis=1))
    np.testing.assert_allclose(projected_spread(points).spread, expected, rtol=1e-9)


def test_all_three_ways_agree():
    points = _run(seed=2)
    direct = projected_spread(points)
    g = gram(points.reshape(30, 30))
    pca = trajectory_pca(g, 3, precomputed=True)
    for other in (
        projected_spread_from_gram(g, 5),
        projected_spread_from_scores(pca.scores, 5, spread(points)),
        projected_spread(torch.tensor(points)),
    ):
        np.testing.assert_allclose(other.spread, direct.spread, rtol=1e-8)
        np.testing.assert_allclose(other.kept, direct.kept, rtol=1e-8)


def test_in_few_dimensions_nothing_is_lost():
    points = _run(size=3, seed=3)
    found = projected_spread(points)
    np.testing.assert_allclose(found.spread, spread(points), rtol=1e-9)
    np.testing.assert_allclose(found.kept, 1.0, rtol=1e-9)
    assert found.ratio == pytest.approx(convergence_ratio(points))
    assert (found.kept <= 1.0).all()


def test_full_and_projected_ratios_can_lie_on_different_sides_of_one():
    # The spread turns from many small directions into one of the leading ones.
    rng = np.random.default_rng(4)
    t, n, size = 4, 6, 200
    path = np.cumsum(rng.normal(size=(t, 1, 2)), axis=0) * 50
    points = np.zeros((t, n, size))
    points[..., :2] = path
    points[..., 0] += np.array([0.1, 0.2, 0.5, 1.0])[:, None] * rng.normal(size=n)
    points[..., 2:] += np.array([1, 0.5, 0.2, 0.0])[:, None, None] * rng.normal(size=(n, size - 2))
    found = projected_spread(points, 2)
    assert convergence_ratio(points) < 0.2
    assert found.ratio > 1.0
    assert found.kept[0] < 0.05


def test_identical_copies_have_projected_spread_exactly_zero():
    points = np.repeat(np.cumsum(np.random.default_rng(5).normal(size=(8, 1, 90)), axis=0), 5, 1)
    for found in (
        projected_spread(points),
        projected_spread_from_gram(gram(points.reshape(40, 90)), 5),
    ):
        assert np.isnan(found.ratio)
    assert (projected_spread(points).spread == 0.0).all()
    assert np.isnan(projected_spread(points).kept).all()


def test_permuting_replicas_and_rotating_change_nothing():
    points = _run(seed=6)
    rng = np.random.default_rng(7)
    q, _ = np.linalg.qr(rng.normal(size=(30, 30)))
    expected = projected_spread(points).spread
    found = projected_spread(points[:, rng.permutation(5)] @ q).spread
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_undefined_is_nan_and_not_zero():
    one = projected_spread(np.random.default_rng(8).normal(size=(3, 1, 4)))
    assert np.isnan(one.spread).all()
    diverged = _run()
    diverged[-1, 2, 0] = np.inf
    found = projected_spread(diverged)
    assert np.isnan(found.ratio)
    assert np.isnan(found.spread).all()
    assert np.isnan(projected_spread(_run(t=1)).ratio)
    assert np.isnan(legacy_ratio(diverged))
    assert np.isnan(legacy_ratio(_run(n=1)))


@pytest.mark.parametrize("seed", range(4))
def test_legacy_ratio_equals_the_published_formula(seed):
    points = _run(seed=seed)
    scores = _sklearn_scores(points, 3)
    expected = np.std(scores[-1].ravel()) / np.std(scores[0].ravel())
    assert legacy_ratio(points) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("true", "legacy"), [(0.5, 1.0), (10.0, 1.02)])
def test_the_legacy_ratio_hides_what_the_full_ratio_shows(true, legacy):
    # Reference section 3, defect 1: a mean path of 100 drowns the spread.
    rng = np.random.default_rng(9)
    apart = rng.normal(size=(1, 5, 400)) / 20
    along = rng.normal(size=400)
    along *= 100 / np.linalg.norm(along)
    time = np.linspace(0, 1, 11)[:, None, None]
    points = (time - 0.5) * along + apart * true**time
    assert convergence_ratio(points) == pytest.approx(true, rel=1e-9)
    assert legacy_ratio(points) == pytest.approx(legacy, abs=0.02)


def test_legacy_ratio_keeps_its_special_cases():
    still = np.zeros((2, 3, 4))
    assert legacy_ratio(still) == 1.0
    moved = still.copy()
    # The first snapshot must lie on the mean of all points to score zero.
    moved[-1, 0, 0], moved[-1, 1, 0] = 1.0, -1.0
    assert legacy_ratio(moved) == float("inf")


def test_bad_requests_are_refused():
    with pytest.raises(RequestError, match="snapshots, replicas"):
        projected_spread(np.zeros((3, 4)))
    with pytest.raises(RequestError, match="k is 0"):
        projected_spread(np.zeros((3, 4, 5)), 0)
    with pytest.raises(RequestError, match="7 points"):
        projected_spread_from_gram(np.zeros((7, 7)), 2)
