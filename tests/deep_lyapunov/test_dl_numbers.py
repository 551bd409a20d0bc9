"""The numbers: each test names what deep-lyapunov 0.1.2 gives, on which it fails."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from dl_jobs import adam, analyzer, circles, loader, net, train, weights
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.decomposition import PCA
from torch import nn
from torch.utils.data import DataLoader

from wingbeat.deep_lyapunov import metrics as dlm
from wingbeat.deep_lyapunov.assess import Recording, assess
from wingbeat.deep_lyapunov.config import MetricsConfig
from wingbeat.deep_lyapunov.metrics import convergence, dimensionality, lyapunov
from wingbeat.metrics import gram, spread_interval

DEFAULTS = {"n_trajectories": 5}


@pytest.fixture(scope="module")
def reference_run():
    """Run R of the reference: circles, 2-64-32-2, Adam, batch 32, 10 epochs, defaults."""
    torch.set_num_threads(1)
    found = analyzer(net(2, 64, 32, 2), **DEFAULTS)
    with pytest.warns(UserWarning, match="new optimizer"):
        results = found.analyze(adam, DataLoader(circles(1000), 32), 10)
    return results, [weights(m) for m in found.get_models()]


def moving(ratio: float, path: float, n: int = 4, p: int = 30) -> np.ndarray:
    """Two checkpoints whose spread changes by ``ratio`` while the mean moves by ``path``."""
    rng = np.random.default_rng(0)
    apart = rng.standard_normal((n, p))
    apart -= apart.mean(axis=0)
    way = rng.standard_normal(p)
    way *= path / np.linalg.norm(way)
    return np.stack([apart, way + ratio * apart])


def test_the_reference_run_parts(reference_run):
    """The original calls it convergent with ratio 0.32, though the copies end 43 times apart."""
    results, ends = reference_run
    first = torch.stack([weights(m) for m in _copies()]).double()
    last = torch.stack(ends).double()
    spread = [float(x.var(0, correction=0).sum().sqrt()) for x in (first, last)]
    assert results.convergence_ratio == pytest.approx(spread[1] / spread[0], rel=1e-9)
    assert 30 < results.convergence_ratio < 60
    assert results.behavior == "divergent"
    assert results.legacy_convergence_ratio == pytest.approx(0.32, abs=0.15)


def _copies() -> list[nn.Module]:
    from wingbeat.deep_lyapunov.tracking import create_perturbed_copies

    return create_perturbed_copies(net(2, 64, 32, 2), 5, 0.01, base_seed=42)


def test_ratio_and_exponent_never_disagree(reference_run):
    """The original: ratio 0.32 below 1 and λ +0.65 above 0, of two different spreads."""
    results, _ = reference_run
    assert results.lyapunov == pytest.approx(math.log(results.convergence_ratio) / 10, rel=1e-12)
    assert results.legacy_lyapunov > 0 > math.log(results.legacy_convergence_ratio)


def test_the_ratio_has_an_interval(reference_run):
    """The original gives one number; over perturbation seeds it varies from 0.27 to 0.46."""
    low, high = reference_run[0].convergence_interval
    assert 1 < low < reference_run[0].convergence_ratio < high
    assert reference_run[0].lyapunov_interval == pytest.approx(
        (math.log(low) / 10, math.log(high) / 10)
    )


@pytest.mark.parametrize(("ratio", "path"), [(0.5, 100.0), (10.0, 100.0), (0.5, 0.0)])
def test_the_common_path_does_not_count(ratio, path):
    """The original gives 1.000 for a true 0.5, and 1.025 for a true 10, with a path of 100."""
    found = dlm.compute_convergence_ratio(moving(ratio, path))
    assert found == pytest.approx(ratio, rel=1e-9)


def test_the_spread_is_that_of_all_weights():
    """The original projects first, which here keeps less than half of the initial spread."""
    points = moving(3.0, 1000.0, n=8)
    expected = np.sqrt(points.var(axis=1).sum(axis=-1))
    np.testing.assert_allclose(dlm.compute_spread_evolution(points), expected, rtol=1e-12)
    assert dlm.legacy_spread_evolution(points)[0] < 0.9 * expected[0]


def test_identical_copies_have_no_ratio():
    """The original gives 0.22, convergent, for copies that never differ (noise 1e-12)."""
    with pytest.warns(UserWarning, match="vanishes in rounding"):
        results = analyzer(perturbation_scale=1e-12).analyze(train, loader(), 3)
    assert (results.spread_evolution == 0).all()
    assert math.isnan(results.convergence_ratio)
    assert math.isnan(results.lyapunov)
    assert (results.behavior, results.reason) == ("undetermined", "below_noise_floor")


@pytest.mark.parametrize("components", [1, 2, 10])
def test_the_ratio_does_not_depend_on_the_components(components):
    """The original gives 520, 0.350 and 0.324 for 1, 2 and 10 components of run R."""
    results = analyzer(n_pca_components=components).analyze(train, loader(), 3)
    default = analyzer(n_pca_components=3).analyze(train, loader(), 3)
    assert results.convergence_ratio == default.convergence_ratio
    assert results.pca_trajectories.shape == (4, 3, components)


def test_two_trajectories_give_the_same_kind_of_number():
    """The original gives 565 for two and 0.41 for three copies, where the truth is 31 to 34."""
    found = analyzer(n_trajectories=2)
    results = found.analyze(train, loader(), 3)
    a, b = (weights(m).double() for m in found.get_models())
    assert results.spread_evolution[-1] == pytest.approx(float((a - b).norm()) / 2, rel=1e-9)
    assert (results.behavior, results.interval_reason) == ("undetermined", "too_few_replicas")


def test_small_perturbations_keep_their_size():
    """The original reads 2.4e-7 for a spread of 3.1e-8: its components are in float32."""
    found = analyzer(net(2, 64, 32, 2), perturbation_scale=1e-8, **DEFAULTS)
    found.start_recording()
    start = torch.stack([weights(m) for m in found.get_models()]).double().numpy()
    for model in found.get_models():
        train(model, loader(), 1)
    found.record_checkpoint()
    expected = np.sqrt(start.var(axis=0).sum())
    assert 0 < expected < 1e-7
    assert found.compute_metrics().spread_evolution[0] == pytest.approx(expected, rel=1e-12)


def test_the_dimension_sees_the_last_checkpoint():
    """The original drops it in a run of 10 epochs: scaling it by 1e6 changes nothing there."""
    points = np.random.default_rng(0).standard_normal((11, 4, 20))
    changed = points.copy()
    changed[-1] *= 1e6
    before = dlm.compute_effective_dimensionality(points).mean()
    assert abs(dlm.compute_effective_dimensionality(changed).mean() - before) > 1


def test_participation_ratio_of_many_weights():
    """The original needs 16 P² bytes, 640 GB here, and gives 1.0 where memory runs out."""
    rng = np.random.default_rng(0)
    data = np.zeros((6, 200_000), np.float32)
    data[:, :4] = rng.standard_normal((6, 4))
    values = np.linalg.eigvalsh(np.cov(data[:, :4].T.astype(float)))
    expected = values.sum() ** 2 / (values**2).sum()
    assert dlm.compute_participation_ratio(data) == pytest.approx(expected, rel=1e-9)


def test_undefined_is_not_zero_or_one():
    """The original gives 0 for the exponents and the spread, 1.0 for ratio and dimension."""
    one = np.random.default_rng(0).standard_normal((4, 1, 6))
    assert math.isnan(dlm.compute_lyapunov_exponent(np.zeros(3), 2))
    assert np.isnan(dlm.compute_local_lyapunov(np.array([0.0, 1.0]))).all()
    assert math.isnan(dlm.compute_convergence_ratio(one))
    assert np.isnan(dlm.compute_spread_evolution(one)).all()
    assert math.isnan(lyapunov.compute_lyapunov_from_trajectories(one)[0])
    assert math.isnan(dlm.compute_participation_ratio(np.ones((5, 3))))


def test_components_are_the_same_every_time():
    """The original's solver is not seeded: λ differs in the sixth digit between runs."""
    points = np.random.default_rng(1).standard_normal((20, 30, 700))
    first, second = (dlm.project_to_pca(points, 3) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    centred = points.reshape(600, -1) - points.reshape(600, -1).mean(axis=0)
    singular = np.linalg.svd(centred, compute_uv=False)
    np.testing.assert_allclose(first[1], singular[:3] ** 2 / (singular**2).sum(), rtol=1e-9)


# From here on: agreement with the original, where it is right.


def test_shapes_of_the_functions():
    points = np.random.default_rng(0).standard_normal((7, 3, 5))
    scores, shares = dlm.project_to_pca(points, 10)
    assert (scores.shape, shares.shape) == ((7, 3, 5), (5,))
    assert dlm.compute_local_lyapunov(np.ones(1)).shape == (1,)
    assert lyapunov.compute_lyapunov_from_trajectories(points)[1].shape == (6,)
    assert convergence.interpolate_trajectories(points, 4).shape == (4, 3, 5)
    assert convergence.interpolate_trajectories(points) is points
    assert convergence.compute_manifold_center(points).shape == (7, 5)
    assert convergence.compute_pairwise_distances(points[0]).shape == (3, 3)
    assert dimensionality.compute_local_dimensionality(points[:, 0], 4).shape == (7,)
    np.testing.assert_allclose(dimensionality.compute_cumulative_variance([0.5, 0.3]), [0.5, 0.8])


def test_distances_against_a_loop():
    points = np.random.default_rng(0).standard_normal((4, 6))
    slow = [[math.dist(a, b) for b in points] for a in points]
    np.testing.assert_allclose(convergence.compute_pairwise_distances(points), slow, atol=1e-12)


def test_growth_of_the_distance_to_one_trajectory():
    points = np.random.default_rng(0).standard_normal((5, 4, 6))
    whole, each = lyapunov.compute_lyapunov_from_trajectories(points, 2)
    mean = [np.mean([math.dist(x[2], x[i]) for i in (0, 1, 3)]) for x in points]
    assert whole == pytest.approx(math.log(mean[-1] / mean[0]) / 4, rel=1e-12)
    np.testing.assert_allclose(each, np.diff(np.log(mean)), rtol=1e-12)


@given(length=st.integers(1, 300), size=st.none() | st.integers(1, 400))
def test_windows_cover_every_checkpoint(length, size):
    covered = np.zeros(length, bool)
    for window in dimensionality.windows(length, size):
        assert 0 <= window.start < window.stop <= length
        covered[window] = True
    assert covered.all()


@settings(max_examples=40)
@given(
    points=arrays(np.float64, (3, 4, 5), elements=st.floats(-10, 10)),
    path=arrays(np.float64, (3, 1, 5), elements=st.floats(-1e3, 1e3)),
    factor=st.floats(0.01, 100),
)
def test_spread_ignores_the_common_path_and_follows_the_scale(points, path, factor):
    expected = factor * dlm.compute_spread_evolution(points)
    found = dlm.compute_spread_evolution(factor * points + path)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: dlm.compute_convergence_ratio(np.ones((3, 4))), "shape"),
        (lambda: dlm.compute_spread_evolution(np.ones((3, 4, 5)), 0), "n_components"),
        (lambda: dlm.compute_lyapunov_exponent(np.ones(3), -1), "n_epochs"),
        (lambda: dlm.compute_effective_dimensionality(np.ones((3, 2, 2)), 0), "window_size"),
        (lambda: convergence.interpolate_trajectories(np.ones((3, 2, 2)), 0), "target_length"),
        (lambda: dimensionality.find_intrinsic_dimension([0.5], 2.0), "threshold"),
        (lambda: dimensionality.compute_local_dimensionality(np.ones((3, 2)), 0), "k_neighbors"),
        (lambda: lyapunov.compute_lyapunov_from_trajectories(np.ones((3, 2, 2)), 5), "reference"),
    ],
)
def test_bad_requests_name_the_value(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_how_a_verdict_is_set():
    """The original's MetricsConfig is used by nothing."""
    from wingbeat.deep_lyapunov.config import MetricsConfig

    found = analyzer()
    found.metrics_config = MetricsConfig(convergence_threshold=1e9, min_trajectory_length=2)
    high = found.analyze(train, loader(), 3)
    assert high.behavior == "convergent"
    assert not high.notes
    found.metrics_config = MetricsConfig(use_robust_estimators=False, lyapunov_window=1)
    plain = found.analyze(train, loader(), 3)
    assert plain.behavior == ("convergent" if plain.convergence_ratio < 1 else "divergent")
    assert math.isnan(plain.convergence_interval[0])
    grown = math.log(plain.spread_evolution[1] / plain.spread_evolution[0])
    assert plain.lyapunov_slope == pytest.approx(grown, rel=1e-9)
    assert any("rough" in note for note in plain.notes)


@pytest.mark.parametrize("components", [1, 2, 3, 10])
def test_legacy_numbers_use_as_many_components_as_the_original(components):
    """Its analyzer takes min(3, n_pca_components): ours had taken three whatever was asked."""
    points = np.random.default_rng(3).standard_normal((5, 4, 30)).cumsum(axis=0)
    recording = Recording(tuple(tuple(row) for row in points), tuple(map(float, range(5))))
    found = assess(recording, components, MetricsConfig())
    used = min(3, components)
    assert found.legacy_convergence_ratio == pytest.approx(by_scikit_learn(points, used), rel=1e-6)
    assert found.legacy_convergence_ratio == pytest.approx(
        dlm.legacy_convergence_ratio(points, used)
    )
    np.testing.assert_allclose(
        found.legacy_spread_evolution, dlm.legacy_spread_evolution(points, used), rtol=1e-9
    )


def by_scikit_learn(points, k):
    """The standard deviation of all scores of the last snapshot over that of the first."""
    scores = PCA(k).fit_transform(points.reshape(-1, points.shape[2]))
    scores = scores.reshape(*points.shape[:2], k)
    return scores[-1].std() / scores[0].std()


def test_the_band_of_the_spread_is_the_one_that_a_run_has():
    points = np.random.default_rng(4).standard_normal((4, 3, 50)).cumsum(axis=0)
    recording = Recording(tuple(tuple(row) for row in points), tuple(map(float, range(4))))
    found = assess(recording, 3, MetricsConfig())
    for one, band in zip(points, found.spread_interval, strict=True):
        wanted = spread_interval(gram(one))
        assert band == pytest.approx(np.array([wanted.low, wanted.high]) * (2 / 3) ** 0.5)
