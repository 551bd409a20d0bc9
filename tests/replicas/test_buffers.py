"""Buffers of every kind travel with their replica: assigned anew, integer, not persistent."""

from __future__ import annotations

from typing import Any

import cases
import pytest
import torch
from driving import plain, relative, train
from torch import Tensor, nn

import wingbeat as wb
from wingbeat.params import fixed, trainable


class Assigning(nn.Module):
    """Keeps a running mean by assignment, a count in place, and one buffer out of its state."""

    running: Tensor
    count: Tensor
    scratch: Tensor
    still: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(4, 10), nn.Linear(10, 1)
        self.register_buffer("running", torch.zeros(10))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.register_buffer("scratch", torch.ones(3), persistent=False)
        self.register_buffer("still", torch.arange(4))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.enter(x))
        if self.training:
            self.running = 0.9 * self.running + 0.1 * h.detach().mean(0)
            self.count += 1
            self.scratch.mul_(0.5).add_(h.detach().mean())
        out: Tensor = self.leave(h - self.running) * (1 + self.scratch.mean())
        return out


@pytest.mark.parametrize("driver", ["loop", "object", "traced", "eager"])
def test_assigned_buffers_behave_as_in_torch(driver: str) -> None:
    task = cases.task("mlp", model=Assigning, steps=15)
    last = train(task, driver, dtype=torch.float64, perturbations=[wb.Gaussian(0.1)])[-1]
    expected = plain(task).model
    for name, value in {**trainable(expected), **fixed(expected)}.items():
        found = {**last.params, **last.buffers}[name]
        assert found.dtype == value.dtype
        for row in (0, 1):
            assert relative(found[row][None], value.detach()[None]) < 1e-11, name
    assert last.buffers["count"].tolist() == [15] * 4
    assert last.buffers["count"].dtype == torch.long
    assert not torch.equal(last.buffers["running"][2], last.buffers["running"][3])


@pytest.mark.parametrize("driver", ["loop", "traced"])
def test_batch_counts_are_whole_numbers_of_each_replica(driver: str) -> None:
    task = cases.task("cnn", steps=5)
    last = train(task, driver, perturbations=[wb.Gaussian(0.1, at=3)])[-1]
    for name in ("features.1.num_batches_tracked", "features.4.num_batches_tracked"):
        assert last.buffers[name].dtype == torch.long
        assert last.buffers[name].tolist() == [5] * 4
    means = last.buffers["features.1.running_mean"]
    assert torch.equal(means[0], means[1])
    assert not torch.equal(means[0], means[2])


@pytest.mark.parametrize("driver", ["loop", "traced"])
def test_parameters_that_the_loss_does_not_use_stay(driver: str) -> None:
    task = cases.task("unused", "adam", steps=6)
    first, last = train(task, driver)
    assert torch.equal(last.params["idle.weight"], first.params["idle.weight"])
    assert not torch.equal(last.params["used.weight"], first.params["used.weight"])


@pytest.mark.parametrize("driver", ["loop", "traced"])
def test_frozen_parameters_stay_and_are_not_perturbed(driver: str) -> None:
    task = cases.task("frozen", steps=4)
    last = train(task, driver, perturbations=[wb.Gaussian(0.5)])[-1]
    torch.manual_seed(task.seed)
    start: Any = task.model()
    assert set(last.params) == {"3.weight", "3.bias", "5.weight", "5.bias"}
    for row in range(4):
        assert torch.equal(last.buffers["0.weight"][row], start[0].weight)


def test_tied_weights_move_once() -> None:
    last = train(cases.task("tied", steps=3), "traced")[-1]
    assert set(last.params) == {"enter.weight", "leave.bias"}


@pytest.mark.parametrize("driver", ["loop", "object", "traced"])
def test_a_module_of_the_users_own_is_not_touched(driver: str) -> None:
    """A factory may hand out the same, for example pretrained, module at every call."""
    torch.manual_seed(3)
    own = cases.Convolutional()
    before = {k: v.clone() for k, v in own.state_dict().items()}
    task = cases.task("cnn", model=lambda: own, steps=3, drop_last=True)
    first, again = (
        train(task, driver, dtype=torch.float64),
        train(task, driver, dtype=torch.float64),
    )
    for name, value in own.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name]), name
    for name, value in first[-1].params.items():
        assert torch.equal(again[-1].params[name], value)
        assert torch.equal(first[0].params[name][0], before[name].double())
