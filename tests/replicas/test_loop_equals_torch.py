"""The loop driver is an ordinary torch training loop, to rounding in float64."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cases
import pytest
import torch
from driving import course, go_on, plain, relative, train
from torch import Tensor, optim

from wingbeat.params import fixed, trainable
from wingbeat.replicas.snapshot import Snapshot

TOLERANCE = 1e-12


def agrees(task: cases.Task, driver: str) -> None:
    found = train(task, driver, dtype=torch.float64, perturbations=())[-1]
    expected = plain(task)
    for name, value in trainable(expected.model).items():
        for row in (0, 1):
            assert relative(found.params[name][row][None], value.detach()[None]) < TOLERANCE, name
    for name, value in fixed(expected.model).items():
        torch.testing.assert_close(found.buffers[name][0], value, rtol=TOLERANCE, atol=TOLERANCE)
    losses = torch.tensor(expected.losses, dtype=torch.float64)
    torch.testing.assert_close(found.losses[:, 0], losses, rtol=TOLERANCE, atol=TOLERANCE)


# torch.func lays out the random mask of a transposed tensor in another order than plain
# autograd does: the encoder layer with dropout draws other, equally random masks.
SAME_MASKS = sorted(set(cases.PROBLEMS) - {"transformer-noisy"})


@pytest.mark.parametrize("problem", SAME_MASKS)
def test_every_problem(problem: str) -> None:
    agrees(cases.task(problem, steps=30), "loop")


@pytest.mark.parametrize("optimizer", cases.OPTIMIZERS)
@pytest.mark.parametrize("problem", cases.ARCHITECTURES)
def test_every_optimizer(problem: str, optimizer: str) -> None:
    agrees(cases.task(problem, optimizer, steps=20, clip_norm=0.5), "loop")


@pytest.mark.parametrize("problem", cases.PROBLEMS)
def test_the_optimizer_object_of_every_problem(problem: str) -> None:
    agrees(cases.task(problem, steps=15), "object")


class Counting(optim.Optimizer):
    """Keeps state in every place where an optimizer may: parameter, group, attribute, other."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr, "seen": 0, "betas": (0.9, 0.99)})
        self.steps = 0

    def step(self, closure: Callable[[], Tensor] | None = None) -> Any:
        assert closure is not None
        with torch.enable_grad():
            loss = closure()
        self.steps += 1
        shared = self.state["all"]
        shared["sum"] = shared.get("sum", torch.zeros((), dtype=torch.float64)) + loss.detach()
        for group in self.param_groups:
            group["seen"] += 1
            group["late"] = group.get("late", 0.0) + 0.01
            for p in group["params"]:
                own = self.state[p]
                own["history"] = [*own.get("history", [])[-1:], p.grad.clone()]
                rate = group["lr"] / (group["seen"] + group["late"] + self.steps**0.5)
                move = sum(own["history"]) * rate / (1 + shared["sum"].abs())
                with torch.no_grad():
                    p.sub_(move)
        return loss


OWN: dict[str, Callable[[Any], optim.Optimizer]] = {
    "adamax": partial(optim.Adamax, lr=1e-3),
    "adadelta": partial(optim.Adadelta, lr=0.1),
    "asgd": partial(optim.ASGD, lr=0.01, t0=5),
    "rprop": partial(optim.Rprop, lr=1e-3),
    "lbfgs": partial(optim.LBFGS, lr=0.05, max_iter=3, history_size=4),
    "lbfgs-wolfe": partial(optim.LBFGS, lr=0.5, max_iter=4, line_search_fn="strong_wolfe"),
    "adafactor": partial(optim.Adafactor, lr=1e-3),
    "custom": partial(Counting, lr=0.05),
}
own_optimizers = pytest.mark.parametrize("optimizer", OWN)


@own_optimizers
@pytest.mark.parametrize("problem", ["mlp-noisy", "cnn"])
def test_optimizers_without_a_pure_form(problem: str, optimizer: str) -> None:
    agrees(cases.task(problem, steps=12, optimizer=OWN[optimizer]), "object")


def test_schedule_and_clipping_reach_the_optimizer_object() -> None:
    agrees(cases.task("clipped", steps=20, optimizer=OWN["adamax"]), "object")


@own_optimizers
def test_replicas_of_an_optimizer_object_do_not_touch_each_other(optimizer: str) -> None:
    task = cases.task("mlp-noisy", steps=12, optimizer=OWN[optimizer])
    alone = train(task, "object", perturbations=())[-1]
    many = train(task, "object", count=3)[-1]
    for name, value in alone.params.items():
        assert torch.equal(many.params[name][0], value[0])
        assert torch.equal(many.params[name][1], value[0])
        assert not torch.equal(many.params[name][2], many.params[name][3])


@own_optimizers
def test_saved_state_goes_on_with_the_same_bits(optimizer: str) -> None:
    task = cases.task("cnn-noisy", steps=14, optimizer=OWN[optimizer])
    whole = train(task, "object", count=2, record=(5, 9))
    broken = course(task, "object", count=2, record=(5, 9))
    go_on(broken, 7)
    tensors, facts = broken.save()
    tensors = {name: t.clone() for name, t in tensors.items()}
    fresh = course(task, "object", count=2, record=(5, 9))
    fresh.restore(tensors, facts)
    after = go_on(fresh, task.steps)
    assert [s.step for s in after] == [9, 14]
    for found, expected in zip(after, whole[-2:], strict=True):
        assert_same(found, expected)


def assert_same(found: Snapshot, expected: Snapshot) -> None:
    assert found.labels == expected.labels
    assert torch.equal(found.losses, expected.losses)
    for name, value in {**expected.params, **expected.buffers}.items():
        assert torch.equal({**found.params, **found.buffers}[name], value), name
