"""How copies are trained and recorded: optimizers, intervals, manual mode, odd models."""

from __future__ import annotations

import logging
import math
import warnings

import numpy as np
import pytest
import torch
from dl_jobs import adam, analyzer, circles, loader, net, train, weights
from torch import nn

from wingbeat import deep_lyapunov as dl
from wingbeat.deep_lyapunov.tracking import TrajectoryTracker, apply_perturbation
from wingbeat.deep_lyapunov.tracking.perturbation import compute_perturbation_magnitude


def scheduled(model, batches, n_epochs):
    """SGD whose rate falls to 0 over all epochs."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_epochs)
    for _ in range(n_epochs):
        for x, y in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        cosine.step()
    return {"loss": 0.0, "rate": optimizer.param_groups[0]["lr"]}


@pytest.mark.parametrize("train_fn", [adam, scheduled])
def test_an_optimizer_that_starts_anew_is_reported(train_fn):
    """The original says nothing: on run R the weights end 3.6 off after a way of 11.2."""
    with pytest.warns(UserWarning, match="all_epochs"):
        analyzer().analyze(train_fn, loader(), 3)


def test_plain_sgd_has_nothing_to_lose():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        analyzer().analyze(train, loader(), 3)
    assert [str(warning.message) for warning in told] == []


@pytest.mark.parametrize("train_fn", [adam, scheduled])
def test_all_epochs_at_once(train_fn):
    """The original has no way to it: 20 optimizers for 2 copies and 10 epochs."""
    built = []
    original = torch.optim.Optimizer.__init__

    def counting(self, *args, **kwargs):
        built.append(type(self))
        original(self, *args, **kwargs)

    alone = net(2, 8, 2)
    train_fn(alone, loader(), 4)
    found = analyzer()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        patch.setattr(torch.optim.Optimizer, "__init__", counting)
        results = found.analyze(dl.all_epochs(train_fn), loader(), 4)
    assert len(built) == 3
    assert torch.equal(weights(found.get_models()[0]), weights(alone))
    np.testing.assert_array_equal(results.checkpoint_epochs, range(5))


def test_at_once_and_by_epoch_agree_where_nothing_is_lost():
    once = analyzer().analyze(dl.all_epochs(train), loader(shuffle=True), 3)
    each = analyzer().analyze(train, loader(shuffle=True), 3)
    np.testing.assert_array_equal(once.spread_evolution, each.spread_evolution)


def test_at_once_leaves_evaluation_passes_out():
    @dl.all_epochs
    def with_accuracy(model, batches, n_epochs):
        next(iter(batches))
        for _ in range(n_epochs):
            train(model, batches, 1)
            with torch.no_grad():
                right = [(model(x).argmax(1) == y).float().mean() for x, y in batches]
        return {"accuracy": torch.stack(right).mean()}

    results = analyzer().analyze(with_accuracy, loader(), 3)
    assert results.n_checkpoints == 4
    assert results.trajectory_metrics[0].final_accuracy > 0.3


def test_at_once_with_another_number_of_passes():
    @dl.all_epochs
    def twice(model, batches, n_epochs):
        return train(model, batches, 2 * n_epochs)

    with pytest.warns(UserWarning, match="went through the loader 4 times"):
        results = analyzer().analyze(twice, loader(), 2)
    np.testing.assert_allclose(results.checkpoint_epochs, [0, 0.5, 1, 1.5, 2])
    assert results.lyapunov == pytest.approx(math.log(results.convergence_ratio) / 2)

    @dl.all_epochs
    def own_data(model, batches, n_epochs):
        return train(model, [batches.dataset[:]], n_epochs)

    with pytest.warns(UserWarning, match="went through the loader 1 times"):
        assert analyzer().analyze(own_data, loader(), 2).n_checkpoints == 2


@pytest.mark.parametrize(("interval", "epochs"), [(2, [0, 2, 4, 6, 8]), (5, [0, 5, 8])])
def test_interval_keeps_first_and_last(interval, epochs):
    """The original skips the initial state (growth 19 reads 2.9) and raises at 5 of 8."""
    every = analyzer().analyze(train, loader(), 8)
    some = analyzer(record_interval=interval).analyze(train, loader(), 8)
    np.testing.assert_array_equal(some.spread_evolution, every.spread_evolution[epochs])
    np.testing.assert_array_equal(some.checkpoint_epochs, epochs)
    assert some.lyapunov == every.lyapunov


def test_interval_in_manual_mode():
    """The original divides by calls here and by records in analyze: 0.267 against 0.71."""
    found = analyzer(record_interval=3)
    found.start_recording()
    for _ in range(4):
        for model in found.get_models():
            train(model, loader(), 1)
        found.record_checkpoint()
    results = found.compute_metrics()
    np.testing.assert_array_equal(results.checkpoint_epochs, [0, 3, 4])
    assert results.lyapunov == pytest.approx(analyzer().analyze(train, loader(), 4).lyapunov)


def readme_loop(**settings):
    model = net(2, 8, 2)
    found = analyzer(model, **settings)
    found.start_recording()
    for _ in range(4):
        train(model, loader(), 1)
        found.record_checkpoint()
    return found


def test_readme_manual_mode():
    """The original reports ratio 0.99999994, convergent, path length 0, and no warning."""
    with pytest.warns(UserWarning, match="for copy in analyzer.get_models"):
        results = readme_loop().compute_metrics()
    assert math.isnan(results.convergence_ratio)
    assert math.isnan(results.lyapunov)
    assert (results.behavior, results.reason) == ("undetermined", "not_trained")
    assert np.isnan(results.spread_evolution).all()
    (only,) = results.trajectory_metrics
    assert only.path_length > 0.1
    assert only.velocity_mean == pytest.approx(only.path_length / 4)
    assert results.pca_trajectories.shape == (5, 1, 5)
    assert np.isfinite(results.pca_trajectories).all()
    assert results.effective_dimensionality >= 1


def test_the_advice_of_the_warning_works():
    model = net(2, 8, 2)
    found = analyzer(model)
    found.start_recording()
    for _ in range(4):
        for copy in found.get_models():
            train(copy, loader(), 1)
        found.record_checkpoint()
    results = found.compute_metrics()
    assert not results.reason
    assert results.convergence_ratio == pytest.approx(
        analyzer().analyze(train, loader(), 4).convergence_ratio
    )


def test_training_nothing_is_reported():
    """The original reports ratio 1.0 and λ 0 for a function that does nothing."""
    with pytest.warns(UserWarning, match="trains nothing"):
        results = analyzer().analyze(lambda model, batches, n: None, loader(), 3)
    assert math.isnan(results.convergence_ratio)
    assert (results.behavior, results.reason) == ("undetermined", "not_trained")


def test_a_copy_left_out_is_reported():
    """The original compares trained with untrained copies."""
    found = analyzer()
    found.start_recording()
    for model in found.get_models()[1:]:
        train(model, loader(), 1)
    found.record_checkpoint()
    with pytest.warns(UserWarning, match="Copies 0 of 3 never moved"):
        assert found.compute_metrics().reason == "not_trained"


def test_parameters_of_one_element():
    """The original makes them NaN: ValueError after all training is done."""
    model = nn.Sequential(nn.Linear(2, 64), nn.PReLU(), nn.Linear(64, 32), nn.ReLU())
    model.append(nn.Linear(32, 1))

    def logistic(copy, batches, n_epochs):
        optimizer = torch.optim.SGD(copy.parameters(), lr=0.1)
        for x, y in batches:
            optimizer.zero_grad()
            logits = copy(x)[:, 0]
            loss = nn.functional.binary_cross_entropy_with_logits(logits, y.float())
            loss.backward()
            optimizer.step()
        return {"loss": loss.item()}

    results = analyzer(model).analyze(logistic, loader(), 2, test_loader=loader())
    assert np.isfinite(results.spread_evolution).all()
    assert results.n_parameters == 2305 + 1
    assert 0 <= results.trajectory_metrics[0].final_accuracy <= 1


def test_noise_is_in_proportion():
    """The original adds 1e-4 to zeros and NaN to single elements."""
    model = nn.Module()
    model.zero = nn.Parameter(torch.zeros(4))
    model.one = nn.Parameter(torch.tensor([3.0]))
    model.flat = nn.Parameter(torch.full((100,), 2.0))
    apply_perturbation(model, 0.01, seed=0)
    assert (model.zero == 0).all()
    assert 0 < abs(model.one.item() - 3) < 0.15
    assert float(model.flat.detach().std()) == pytest.approx(0.02, rel=0.3)


def test_perturbing_leaves_the_global_generator_alone():
    """The original seeds it."""
    model, state = net(2, 2), torch.get_rng_state()
    apply_perturbation(model, 0.01, seed=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_diverged_weights():
    """The original: ValueError from the components after all training is done."""

    def explode(model, batches, n_epochs):
        result = train(model, batches, n_epochs)
        explode.epochs += 1
        if explode.epochs == 3:  # the last epoch of copy 0
            with torch.no_grad():
                next(model.parameters()).fill_(torch.inf)
        return result

    explode.epochs = 0
    with pytest.warns(UserWarning, match="not finite"):
        results = analyzer().analyze(explode, loader(), 3)
    assert (results.behavior, results.reason) == ("undetermined", "diverged")
    assert np.isfinite(results.spread_evolution[:3]).all()
    assert math.isnan(results.spread_evolution[3])
    assert np.isfinite(results.pca_trajectories[:, 1:]).all()
    assert np.isnan(results.pca_trajectories[3, 0]).all()
    assert results.effective_dimensionality >= 1


def test_a_loss_that_is_not_finite_is_reported():
    """The original passes it in silence."""

    def lossy(model, batches, n_epochs):
        train(model, batches, n_epochs)
        return {"loss": float("nan")}

    with pytest.warns(UserWarning, match="final loss of trajectory 0, 1, 2"):
        results = analyzer().analyze(lossy, loader(), 2)
    assert results.convergence_ratio > 0


def test_bfloat16():
    """The original: TypeError."""
    model = net(2, 8, 2).bfloat16()
    found = analyzer(model, perturbation_scale=0.1)

    def half(copy, batches, n_epochs):
        return train(copy, [(x.bfloat16(), y) for x, y in batches], n_epochs)

    results = found.analyze(half, loader(), 2)
    last = torch.stack([weights(m) for m in found.get_models()]).double()
    expected = float(last.var(0, correction=0).sum().sqrt())
    assert results.spread_evolution[-1] == pytest.approx(expected, rel=1e-12)


def test_frozen_models_are_refused_before_training():
    """The original: ValueError about components, after all training is done."""
    with pytest.raises(ValueError, match="unfreeze"):
        analyzer(net(2, 8, 2).requires_grad_(False))


def test_unfreezing_during_training():
    """The original: ValueError, its trajectory is ragged."""
    model = net(2, 8, 2)
    model[0].requires_grad_(False)

    def unfreeze(copy, batches, n_epochs):
        result = train(copy, batches, n_epochs)
        copy[0].requires_grad_(True)
        return result

    results = analyzer(model, track_gradients=True).analyze(unfreeze, loader(), 3)
    assert results.n_parameters == weights(model).numel()
    assert np.isfinite(results.spread_evolution).all()
    assert results.gradient_norms.shape == (4, 3)


RETURNED = [
    (None, None, None),
    (0.5, 0.5, None),
    (torch.tensor(0.25), 0.25, None),
    (np.array([1.0, 2.0]), None, None),
    ((1.0, 2.0), None, None),
    ({}, None, None),
    ({"loss": []}, None, None),
    ({"loss": (2.0, 1.0)}, 1.0, None),
    ({"loss": torch.empty(0)}, None, None),
    ({"loss": [2.0, 1.0], "accuracy": [0.5, 0.75]}, 1.0, 0.75),
    ({"loss": torch.tensor([2.0, 3.0]), "test_acc": np.float32(0.5)}, 3.0, 0.5),
    ({"loss": np.array(4.0), "accuracy": None, "test_acc": [0.5]}, 4.0, 0.5),
]


@pytest.mark.parametrize(("returned", "loss", "accuracy"), RETURNED)
def test_whatever_a_training_function_returns(returned, loss, accuracy):
    """The original: TypeError for None and a loss in a tuple, IndexError for an empty tensor."""

    def returning(model, batches, n_epochs):
        train(model, batches, n_epochs)
        return returned

    found = analyzer().analyze(returning, loader(), 2).trajectory_metrics[1]
    assert (found.final_loss, found.final_accuracy) == (loss, accuracy)


def test_accuracy_on_the_test_loader():
    """The original never touches it."""
    found = analyzer(net(2, 32, 2))
    results = found.analyze(train, loader(), 5, test_loader=loader(40, 7))
    x, y = circles(40).tensors
    for model, one in zip(found.get_models(), results.trajectory_metrics, strict=True):
        assert model.training
        expected = float((model(x).argmax(1) == y).float().mean())
        assert one.final_accuracy == pytest.approx(expected)


def test_the_training_function_may_take_the_test_loader():
    """The original does not pass it on."""
    tests, seen = loader(40), []

    def both(model, batches, n_epochs, test_loader):
        seen.append(test_loader)
        return {**train(model, batches, n_epochs), "test_acc": 0.5}

    results = analyzer().analyze(both, loader(), 1, tests)
    assert seen == [tests] * 3
    assert results.trajectory_metrics[0].final_accuracy == 0.5


def test_a_broken_test_loader_is_noticed():
    """The original ignores a loader that raises."""

    class Broken:
        def __iter__(self):
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        analyzer().analyze(train, loader(), 1, Broken())


@pytest.mark.parametrize("verbose", [True, False])
def test_verbose(verbose, capsys):
    """The original prints nothing either way."""
    analyzer(verbose=verbose).analyze(train, loader(), 1)
    captured = capsys.readouterr()
    assert not captured.out
    assert ("Training trajectory 2/3" in captured.err) is verbose


def test_messages_are_logged_under_the_old_name(caplog):
    with caplog.at_level(logging.INFO, logger="deep_lyapunov"):
        found = analyzer()
        found.analyze(train, loader(), 1)
        found.reset()
    for text in ("Starting stability analysis", "Training trajectory", "Analysis complete"):
        assert text in caplog.text
    assert "Analyzer reset" in caplog.text
    assert all(r.name.startswith("deep_lyapunov") for r in caplog.records)
    assert dl.get_logger() is logging.getLogger("deep_lyapunov")


def test_gradients_are_reported():
    """The original collects them and reports nothing."""
    results = analyzer(track_gradients=True).analyze(train, loader(), 2)
    assert results.gradient_norms.shape == (3, 3)
    assert np.isnan(results.gradient_norms[0]).all()
    assert (results.gradient_norms[1:] > 0).all()
    assert analyzer().analyze(train, loader(), 2).gradient_norms is None


def test_a_recording_in_progress_is_not_lost():
    """The original discards it in silence."""
    found = analyzer()
    found.start_recording()
    with pytest.raises(RuntimeError, match="Already recording"):
        found.analyze(train, loader(), 1)
    with pytest.raises(RuntimeError, match="Already recording"):
        found.start_recording()
    found.reset()
    found.analyze(train, loader(), 1)


def test_misuse_of_manual_mode():
    found = analyzer()
    for call, match in (
        (found.record_checkpoint, "Not recording"),
        (found.get_models, "Models not created"),
        (found.compute_metrics, "Insufficient trajectory data"),
    ):
        with pytest.raises(RuntimeError, match=match):
            call()
    found.start_recording()
    with pytest.raises(RuntimeError, match="Insufficient"):
        found.compute_metrics()
    train(found.get_models()[0], loader(), 1)
    found.record_checkpoint()
    with pytest.raises(ValueError, match="training_metrics"):
        found.compute_metrics([{}])


@pytest.mark.parametrize(
    "settings",
    [
        {"device": "banana"},
        {"perturbation_scale": 0.0},
        {"perturbation_scale": float("nan")},
        {"n_trajectories": 1},
        {"n_pca_components": 0},
        {"record_interval": 0},
    ],
)
def test_settings_out_of_range(settings):
    """The original accepts the device "banana" and a scale of NaN."""
    with pytest.raises(ValueError, match=next(iter(settings))):
        analyzer(**settings)


def test_config_against_arguments():
    """The original lets config override every argument in silence."""
    config = dl.AnalyzerConfig(n_trajectories=4)
    with pytest.warns(UserWarning, match="config"):
        found = dl.StabilityAnalyzer(net(2, 2), n_trajectories=7, config=config)
    assert found.config is config
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dl.StabilityAnalyzer(net(2, 2), config=config)


def test_tied_weights_count_once():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False))
    model[2].weight = model[0].weight
    results = analyzer(model).analyze(train, loader(), 2)
    assert results.n_parameters == 4


def test_the_model_is_not_changed():
    model = net(2, 8, 2)
    before = weights(model).clone()
    analyzer(model).analyze(train, loader(), 2)
    assert torch.equal(weights(model), before)


def test_tracker():
    model = net(2, 4, 2)
    tracker = TrajectoryTracker(model, track_gradients=True)
    assert tracker.get_latest_weights() is None
    with pytest.raises(ValueError, match="No snapshots captured"):
        tracker.get_trajectory()
    tracker.capture()
    assert tracker.get_gradient_trajectory() is None
    train(model, loader(), 1)
    tracker.capture()
    moved = compute_perturbation_magnitude(net(2, 4, 2), model)
    stats = tracker.get_statistics()
    assert stats["path_length"] == pytest.approx(moved, rel=1e-12)
    assert stats["velocity_std"] == 0
    assert tracker.get_trajectory().shape == (2, tracker.n_parameters) == (2, 22)
    assert tracker.get_gradient_trajectory().shape == (1, 22)
    assert (tracker.n_snapshots, tracker.model) == (2, model)
    tracker.reset()
    assert tracker.n_snapshots == 0
    assert all(math.isnan(value) for value in tracker.get_statistics().values())
