"""Layers of two models against each other, and of a stack of replicas against its first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from reference import kernels as slow
from torch import nn

from wingbeat.errors import CONSTANT, DIVERGED, TOO_FEW_SAMPLES, RequestError
from wingbeat.params import fixed, trainable
from wingbeat.representation import compare_layers
from wingbeat.representation.layers import compare_stack
from wingbeat.task.batches import eval_batches, placer
from wingbeat.task.step import TrainingStep
from wingbeat.task.task import Task


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def net(seed=0, width=5):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(4, width), nn.BatchNorm1d(width), nn.Tanh(), nn.Dropout(), nn.Linear(width, 3)
    ).double()


@pytest.fixture
def task():
    return Task(
        model=net,
        loss=lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
        data=(numbers(40, 4), numbers(40, 3, seed=1).argmax(1)),
        optimizer=lambda params: torch.optim.SGD(params, lr=0.1),
        batch_size=8,
        steps=2,
    )


def activations(model, x):
    """Return what each layer gives, by running the model's parts one after the other."""
    model.eval()
    found = {}
    with torch.no_grad():
        for name, part in model.named_children():
            x = part(x)
            found[name] = x.flatten(1).numpy()
    return {name: found[name] for name in ("0", "1", "2", "4")}


@pytest.mark.parametrize("estimator", ["debiased", "biased", "zero_diagonal"])
def test_every_pair_of_layers_against_the_slow_version(task, estimator):
    a, b = net(0), net(1, width=7)
    found = compare_layers(task, a, b, estimator=estimator)
    x = task.data[0].double()
    first, second = activations(a, x), activations(b, x)
    assert found.first == found.second == tuple(first)
    assert (found.samples, found.left_out, found.batch_size) == (40, 0, 40)
    for i, one in enumerate(first.values()):
        for j, other in enumerate(second.values()):
            expected = slow.cka(one, other, estimator)
            assert found.cka[i, j] == pytest.approx(expected, abs=1e-9)
            assert found.angles[i, j] == pytest.approx(np.arccos(found.cka[i, j]))
    assert (found.reasons == "").all()


def test_minibatches_are_the_mean_of_their_hsic(task):
    a, b = net(0), net(1)
    found = compare_layers(task, a, b, layers=["2"], batch_size=12)
    assert (found.samples, found.left_out, found.batch_size) == (40, 0, 12)
    first, second = (activations(m, task.data[0].double())["2"] for m in (a, b))
    parts = [slice(k, min(k + 12, 40)) for k in range(0, 40, 12)]

    def mean(p, q):
        return sum(len(p[s]) * slow.hsic(p[s], q[s], "debiased") for s in parts) / 40

    expected = mean(first, second) / np.sqrt(mean(first, first) * mean(second, second))
    assert found.cka[0, 0] == pytest.approx(expected, abs=1e-9)


def test_a_model_and_itself_have_angle_zero_on_the_diagonal(task):
    model = net(3)
    before = {k: t.clone() for k, t in model.state_dict().items()}
    found = compare_layers(task, model, model)
    assert (np.diag(found.angles) == 0).all()
    np.testing.assert_allclose(found.cka, found.cka.T, atol=1e-12)
    assert model.training
    assert all(torch.equal(before[k], t) for k, t in model.state_dict().items())


def test_permuted_units_represent_the_same(task):
    a, b, order = net(0), net(0), torch.randperm(5)
    with torch.no_grad():
        b[0].weight.copy_(a[0].weight[order])
        b[0].bias.copy_(a[0].bias[order])
        b[4].weight.copy_(a[4].weight[:, order])
    assert np.diag(compare_layers(task, a, b).angles) == pytest.approx(0.0, abs=1e-6)


def test_evaluation_data_and_a_memory_bound_decide_the_minibatches(task):
    bounded = replace(task, eval_data=(numbers(33, 4, seed=5), torch.zeros(33).long()))
    widths = 2 * (5 + 5 + 5 + 3)
    found = compare_layers(bounded, net(0), net(1), memory=20 * (8 * widths + 16 * 5))
    assert found.samples == 33
    assert found.batch_size == 17  # two equal minibatches instead of 20 and 13
    with pytest.raises(RequestError, match=r"memory of 100 bytes holds.*0 samples"):
        compare_layers(bounded, net(0), net(1), memory=100)


def test_dead_layers_and_broken_models_say_why(task):
    dead, broken = net(0), net(0)
    with torch.no_grad():
        dead[0].weight.zero_()
        broken[0].weight[0, 0] = torch.nan
    found = compare_layers(task, net(1), dead)
    assert (found.reasons[:, 0] == CONSTANT).all()
    assert np.isnan(found.cka).all()
    assert (compare_layers(task, net(1), broken).reasons == DIVERGED).all()
    few = compare_layers(task, net(0), net(1), data=(numbers(3, 4), torch.zeros(3).long()))
    assert (few.reasons == TOO_FEW_SAMPLES).all()
    assert (few.samples, few.left_out) == (0, 3)


def test_wrong_requests_are_refused(task):
    a, b = net(0), net(1)
    with pytest.raises(RequestError, match="known: 0, 1, 2, 3, 4"):
        compare_layers(task, a, b, layers=["fc"])
    with pytest.raises(RequestError, match=r"batch_size is 41.*40 samples"):
        compare_layers(task, a, b, batch_size=41)
    with pytest.raises(RequestError, match="at least 4"):
        compare_layers(task, a, b, batch_size=3)
    with pytest.raises(RequestError, match="'plain'"):
        compare_layers(task, a, b, estimator="plain")


def test_attention_layers_run_module_by_module(task):
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.block(x[:, None, :].expand(-1, 6, -1)).mean(1))

    found = compare_layers(task, Tokens(), Tokens(), positions="last")
    assert {"block.linear1", "block.norm2", "head"} <= set(found.first)
    assert np.isfinite(np.diag(found.cka)).all()


def test_a_stack_against_its_first(task):
    step = TrainingStep(task, torch.float64, torch.device("cpu"))
    models = [net(0), net(0), net(1), net(2)]
    params = torch.stack([step.layout.flatten(trainable(m)).detach() for m in models])
    buffers = {k: torch.stack([fixed(m)[k] for m in models]) for k in fixed(models[0])}
    place = placer(step.dtype, step.device)
    batches = [batch for batch, _ in eval_batches(task.data, 20, place)]
    found = compare_stack(step, params, buffers, batches)
    for i, model in enumerate(models):
        expected = compare_layers(task, models[0], model, batch_size=20)
        for j, name in enumerate(expected.first):
            assert found[name].cka()[0, i] == pytest.approx(expected.cka[j, j], abs=1e-12)
            assert (found[name].angular_cka()[0, i] == 0.0) == (i < 2)
