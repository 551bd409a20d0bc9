"""A task whose every setting is an argument: its schedule, initial weights and convex case."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

import wingbeat as wb
from wingbeat.determinism import derive
from wingbeat.errors import RequestError
from wingbeat.study.condition import perturbation
from wingbeat.task.batches import Streams
from wingbeat.tasks.settings import WarmupAndDecay, settings_net, settings_task


@pytest.mark.parametrize("decay", ["none", "linear", "cosine"])
def test_the_schedule_is_that_of_torch(decay):
    """Against torch's own schedulers one after the other: a linear rise, then the decay."""
    steps, rise = 50, 10
    rule = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    later = {
        "none": lambda: LinearLR(rule, 1.0, 1.0),
        "linear": lambda: LinearLR(rule, 1.0, 0.0, total_iters=steps - rise),
        "cosine": lambda: CosineAnnealingLR(rule, steps - rise),
    }
    first = LinearLR(rule, 1.0 / rise, 1.0, total_iters=rise - 1)
    both = SequentialLR(rule, [first, later[decay]()], milestones=[rise])
    factor = WarmupAndDecay(steps, rise / steps, decay)
    for step in range(steps):
        assert math.isclose(factor(step), rule.param_groups[0]["lr"], rel_tol=1e-9), step
        rule.step()
        both.step()


def test_a_gain_multiplies_the_initial_weights_and_nothing_else():
    nets = []
    for gain in (1.0, 3.0):
        torch.manual_seed(5)
        nets.append(dict(settings_net(9, 4, 2, "layer", gain).named_parameters()))
    for name, weight in nets[0].items():
        factor = 3.0 if weight.dim() == 2 else 1.0
        assert torch.equal(nets[1][name], factor * weight)


@pytest.mark.parametrize(("norm", "optimizer"), [("batch", "sgd"), ("layer", "adamw")])
def test_training_is_that_of_a_loop_by_hand(norm, optimizer):
    task = settings_task(
        4, norm=norm, optimizer=optimizer, lr=0.05, warmup=0.25, decay="linear", weight_decay=0.01,
        batch_size=32, epochs=2, samples=128, side=7, seed=3,
    )  # fmt: skip
    ours = wb.run(task, record_every=task.steps, dtype=torch.float64).trajectory.at(task.steps)
    torch.manual_seed(3)
    net = task.model().double()
    settings = {"lr": 0.05, "weight_decay": 0.01}
    rule = (
        torch.optim.SGD(net.parameters(), momentum=0.9, **settings)
        if optimizer == "sgd"
        else torch.optim.AdamW(net.parameters(), **settings)
    )
    images, labels = task.data
    steps, draw = 8, torch.Generator()
    for step in range(steps):
        if step % 4 == 0:
            seed = derive(Streams.of(3).order, step // 4)
            order = torch.randperm(128, generator=draw.manual_seed(seed))
        own = order[step % 4 * 32 :][:32]
        # A rise over the first two updates, then down in a straight line.
        rule.param_groups[0]["lr"] = 0.05 * ((step + 1) / 2 if step < 2 else 1 - (step - 2) / 6)
        rule.zero_grad()
        F.cross_entropy(net(images[own].double()), labels[own]).backward()
        rule.step()
    assert images.shape == (128, 1, 7, 7)
    for name, weight in net.named_parameters():
        assert torch.allclose(ours.params[name][0], weight, rtol=0, atol=1e-12), name


def test_a_linear_model_has_no_barrier():
    """Its loss is convex in the weights: on a line it lies below the line between its ends."""
    task = settings_task(depth=0, lr=0.05, epochs=2, samples=256, side=7)
    nudges = [perturbation({"kind": "gaussian", "scale": 1.0}), perturbation({"kind": "order"})]
    found = wb.run(task, nudges, replicas=2, metrics=("barrier",), record_every=task.steps)
    for nudge in found:
        for data in ("train", "test"):
            assert found.summary[f"{nudge}/final_barrier_{data}"]["value"] < 1e-6


@pytest.mark.parametrize(
    "wrong",
    [{"norm": "group"}, {"optimizer": "lion"}, {"decay": "step"}, {"side": 9}, {"warmup": 1.0},
     {"width": 0}, {"gain": 0.0}],
)  # fmt: skip
def test_what_cannot_be_built_is_refused(wrong):
    with pytest.raises(RequestError):
        settings_task(**wrong)
