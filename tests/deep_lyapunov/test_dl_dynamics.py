"""Layer snapshots, the tracker for any loop, and the phase-space view."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from dl_jobs import analyzer, loader, net, train
from torch import nn

from wingbeat import deep_lyapunov as dl


def test_a_snapshot_against_numpy():
    weights = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))
    shot = dl.LayerSnapshot.of("layer", weights, 2 * weights, step=7)
    values = weights.numpy().astype(float)
    expected = {
        "weight_mean": values.mean(),
        "weight_std": values.std(),
        "weight_min": values.min(),
        "weight_max": values.max(),
        "weight_norm": np.sqrt((values**2).sum()),
        "grad_mean": 2 * values.mean(),
        "grad_std": 2 * values.std(),
        "grad_norm": 2 * np.sqrt((values**2).sum()),
    }
    for name, value in expected.items():
        assert getattr(shot, name) == pytest.approx(value, rel=1e-12), name
    singular = np.linalg.svd(values.reshape(3, 8), compute_uv=False)
    np.testing.assert_allclose(shot.singular_values, singular, rtol=1e-12)
    assert (shot.name, shot.step) == ("layer", 7)


def test_what_a_snapshot_may_lack():
    shot = dl.LayerSnapshot.of("bias", torch.ones(1))
    assert shot.singular_values is None
    assert math.isnan(shot.grad_norm)
    assert shot.weight_std == 0
    broken = dl.LayerSnapshot.of("w", torch.full((2, 3), torch.nan))
    assert np.isnan(broken.singular_values).all()
    with pytest.raises(ValueError, match="empty"):
        dl.LayerSnapshot.of("none", torch.empty(0))


def recorded(copies: int) -> dl.DynamicsTracker:
    models = dl.StabilityAnalyzer(net(2, 8, 2), n_trajectories=max(copies, 2), verbose=False)
    models.start_recording()
    tracker = dl.DynamicsTracker(models.get_models()[:copies])
    tracker.record(0)
    for epoch in (1, 2, 3):
        for model in tracker.models:
            train(model, loader(), 1)
        tracker.record(epoch)
    return tracker


def test_layers_over_time():
    tracker = recorded(1)
    norms = tracker.layer("0.weight", "weight_norm")
    end = float(tracker.models[0][0].weight.detach().norm())
    assert norms.shape == (4,)
    assert norms[-1] == pytest.approx(end, rel=1e-6)
    slopes = tracker.layer("2.bias", "grad_norm")
    assert math.isnan(slopes[0])
    assert (slopes[1:] > 0).all()
    assert tracker.layer("0.weight", "singular_values").shape == (4, 2)
    assert tracker.trajectories.shape == (4, 1, 42)
    assert set(tracker.layers[0]) == {"0.weight", "0.bias", "2.weight", "2.bias"}


def test_phase_space_equals_the_stability_analyzer():
    tracker = recorded(3)
    found = dl.DynamicalSystemsAnalyzer(tracker, tracker.models[0], n_pca_components=4)
    results, expected = found.analyze(), analyzer().analyze(train, loader(), 3)
    np.testing.assert_array_equal(results.spread_evolution, expected.spread_evolution)
    assert results.convergence_ratio == expected.convergence_ratio
    assert results.lyapunov == expected.lyapunov
    assert results.early_late_ratio == expected.early_late_ratio
    running = found.variance_explained()
    assert running.shape == (4,)
    assert (np.diff(running) >= 0).all()
    assert running[-1] <= 1 + 1e-12


def test_early_late_ratio_by_hand():
    models = [nn.Linear(1, 1, bias=False) for _ in range(2)]
    tracker = dl.DynamicsTracker(models)
    for step, size in ((0, 1.0), (10, math.e**3), (20, math.e**4)):
        for sign, model in zip((-1, 1), models, strict=True):
            model.weight.data.fill_(sign * size)
        tracker.record(step)
    results = dl.DynamicalSystemsAnalyzer(tracker, models[1]).analyze()
    assert results.early_late_ratio == pytest.approx(3, rel=1e-6)
    assert results.lyapunov == pytest.approx(4 / 20, rel=1e-6)


def test_one_model_has_a_path_and_no_spread():
    tracker = recorded(1)
    results = dl.DynamicalSystemsAnalyzer(tracker, tracker.models[0]).analyze()
    assert results.reason == "too_few_replicas"
    assert math.isnan(results.convergence_ratio)
    assert results.trajectory_metrics[0].path_length > 0
    assert results.effective_dimensionality >= 1


def test_released_parameters_join():
    model = net(2, 4, 2)
    model[0].requires_grad_(False)
    tracker = dl.DynamicsTracker(model)
    tracker.record()
    model[0].requires_grad_(True)
    tracker.record()
    norms = tracker.layer("0.weight", "weight_norm")
    assert math.isnan(norms[0])
    assert norms[1] > 0
    assert tracker.trajectories.shape == (2, 1, 22)


def test_bad_requests():
    model = net(2, 2)
    tracker = dl.DynamicsTracker(model, singular_values=False)
    with pytest.raises(ValueError, match="does not track"):
        dl.DynamicalSystemsAnalyzer(tracker, copy.deepcopy(model))
    with pytest.raises(ValueError, match="n_pca_components"):
        dl.DynamicalSystemsAnalyzer(tracker, model, 0)
    with pytest.raises(ValueError, match="0 records"):
        dl.DynamicalSystemsAnalyzer(tracker, model).analyze()
    tracker.record(5)
    with pytest.raises(ValueError, match="does not come after"):
        tracker.record(5)
    with pytest.raises(ValueError, match="no parameter"):
        tracker.layer("bias", "weight_norm")
    with pytest.raises(ValueError, match="one of"):
        tracker.layer("0.bias", "name")
    with pytest.raises(ValueError, match="has no singular_values"):
        tracker.layer("0.weight", "singular_values")
    with pytest.raises(ValueError, match="trainable"):
        dl.DynamicsTracker([])
