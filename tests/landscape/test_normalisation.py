from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import Convolutional
from grounds import models_of, module_at, problem, renormalised, slow_line, step_of
from torch import nn

from wingbeat.errors import RequestError
from wingbeat.landscape import Probe, line
from wingbeat.landscape.normalisation import tracked


def statistics_of(probe, models, row):
    """Return the buffers that the probe evaluates one point with."""
    normaliser, _ = probe._plan(models)
    params, buffers = models.mixed(row)
    params, buffers = params[None], {k: b[None] for k, b in buffers.items()}
    with torch.no_grad():
        normaliser(lambda f, batch: probe.apply(f, params, buffers, batch), buffers)
    return {k: b[0] for k, b in buffers.items()}, normaliser


@pytest.mark.parametrize("memory", [1 << 28, 60_000])
@pytest.mark.parametrize("stacked", [True, False])
def test_statistics_are_those_of_the_full_data(memory, stacked):
    task, step = problem("cnn")
    models = models_of(step, 2)
    row = np.array([0.3, 0.7])
    probe = Probe(step, memory=memory, stacked=stacked, batch_size=20)
    found, normaliser = statistics_of(probe, models, row)
    assert normaliser.whole == (memory > 1 << 20)
    slow = renormalised(module_at(step, models, row), task.data[0].double())
    for name in ("features.1", "features.4"):
        norm = slow.get_submodule(name)
        for kind in ("running_mean", "running_var"):
            got = found[f"{name}.{kind}"]
            torch.testing.assert_close(got, getattr(norm, kind), rtol=1e-10, atol=1e-12)


def test_equal_to_train_mode_on_all_samples_at_once():
    """The forward pass with these statistics is the training forward pass on the whole set."""
    task, step = problem("cnn")
    models = models_of(step, 2)
    curve = line(Probe(step), models, alphas=5).curve()
    data = (task.data[0].double(), task.data[1])
    for alpha, value in zip(curve.alphas, curve.values[0], strict=True):
        model = module_at(step, models, [1 - alpha, alpha]).train()
        with torch.no_grad():
            assert value == pytest.approx(float(task.loss(model, data)), abs=1e-10)


def test_free_of_order_of_batch_size_and_of_what_training_left():
    task, step = problem("cnn")
    models = models_of(step, 2)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    mixed = replace(task, data=tuple(t[order] for t in task.data), eval_data=None)
    other = replace(models, buffers={k: 3 * b for k, b in models.buffers.items()})
    expected = line(Probe(step, batch_size=30), models, alphas=3).curve().values
    again = (
        line(Probe(step_of(mixed), batch_size=30), models, alphas=3),
        line(Probe(step, batch_size=7), models, alphas=3),
        line(Probe(step, memory=60_000, batch_size=30), models, alphas=3),
        line(Probe(step, batch_size=30), other, alphas=3),
    )
    for found in again:
        np.testing.assert_allclose(found.curve().values, expected, atol=1e-10)


def test_statistics_come_from_the_first_data_for_all_of_them():
    _, step = problem("cnn")
    models = models_of(step, 2)
    task = step.task
    both = Probe(step, data={"train": task.data, "test": task.eval_data})
    alone = Probe(step, data={"test": task.eval_data})
    first = line(both, models, alphas=3).curve("loss_test").values
    assert not np.allclose(first, line(alone, models, alphas=3).curve("loss_test").values)


def test_interpolated_statistics_by_name():
    task, step = problem("cnn")
    models = models_of(step, 2)
    found = (
        line(Probe(step, statistics="interpolated", batch_size=30), models, alphas=3)
        .curve()
        .values[0]
    )
    expected, _ = slow_line(task, step, models, (0, 1), exact=False, points=3)
    np.testing.assert_allclose(found, expected, atol=1e-10)
    exact = line(Probe(step, batch_size=30), models, alphas=3).curve().values[0]
    assert not np.allclose(found, exact)


def test_the_models_own_buffers_stay_as_they_are():
    _, step = problem("cnn")
    models = models_of(step, 2)
    before = {k: b.clone() for k, b in models.buffers.items()}
    inside = {k: b.clone() for k, b in step._evaluation.state_dict().items()}
    line(Probe(step, batch_size=30), models, alphas=3)
    line(Probe(step, memory=60_000, batch_size=30), models, alphas=3)
    assert all(torch.equal(before[k], b) for k, b in models.buffers.items())
    after = step._evaluation.state_dict()
    assert all(torch.equal(inside[k], after[k]) for k in inside)
    hooks = [m._forward_pre_hooks for m in step._evaluation.modules()]
    assert not any(hooks)


def test_which_layers_are_tracked():
    model = nn.Sequential(
        nn.BatchNorm1d(3), nn.BatchNorm1d(3, track_running_stats=False), nn.GroupNorm(1, 3)
    )
    assert tracked(model) == ("0",)
    assert tracked(Convolutional()) == ("features.1", "features.4")


class Shared(nn.Module):
    """Runs one normalisation twice."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm, self.head = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.norm(torch.tanh(self.norm(self.layer(x)))))


def test_a_layer_that_runs_twice_has_no_single_statistics():
    task, _ = problem("mlp")
    labels = (task.data[0][:, 0] > 0).long()
    task = replace(
        task,
        model=Shared,
        data=(task.data[0], labels),
        eval_data=None,
        loss=lambda m, b: F.cross_entropy(m(b[0]), b[1]),
    )
    step = step_of(task)
    with pytest.raises(RequestError, match="'norm' runs 2 times"):
        line(Probe(step), models_of(step, 2))
    assert line(Probe(step, statistics="interpolated"), models_of(step, 2)).curves
