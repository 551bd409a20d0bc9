"""Models that lock step cannot run: refused with the reason, trained right by the loop."""

from __future__ import annotations

import random
from typing import Any

import cases
import numpy as np
import pytest
import torch
from driving import plain, relative
from torch import Tensor, nn, optim
from torch.utils.checkpoint import checkpoint

import wingbeat as wb
from wingbeat.params import trainable
from wingbeat.task.task import Task


class Sine(torch.autograd.Function):
    """An old-style function, without ``setup_context``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return grad * x.cos()


class Hostile(nn.Module):
    """A 4-6-1 net that does one thing a vectorised or differentiated step cannot."""

    def __init__(self, habit: str) -> None:
        super().__init__()
        self.habit, self.calls = habit, 0
        self.enter, self.leave = nn.Linear(4, 6), nn.Linear(6, 1)
        self.mean = torch.zeros(())
        self.norm = nn.BatchNorm1d(6, momentum=None) if habit == "average" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if self.habit == "in place":
            x.mul_(0.5).add_(0.1)
        h = self.norm(torch.tanh(self.enter(x)))
        h = getattr(self, self.habit.replace(" ", "_"), lambda h: h)(h)
        out: Tensor = self.leave(h)
        return out

    def branch(self, h: Tensor) -> Tensor:
        return h * 2 if h.sum() > 0 else h

    def item(self, h: Tensor) -> Tensor:
        return h * h.abs().max().item()

    def count(self, h: Tensor) -> Tensor:
        self.calls += 1
        return h / self.calls

    def late_count(self, h: Tensor) -> Tensor:
        self.calls += 1
        return h if self.calls < 1000 else -h

    def remember(self, h: Tensor) -> Tensor:
        self.mean = (0.9 * self.mean + h.mean()).detach()
        return h + self.mean

    def python(self, h: Tensor) -> Tensor:
        return h * (0.5 + random.random())

    def numpy(self, h: Tensor) -> Tensor:
        return h * (0.5 + float(np.random.rand()))  # noqa: NPY002

    def function(self, h: Tensor) -> Tensor:
        found: Tensor = Sine.apply(h)  # type: ignore[no-untyped-call]
        return found

    def checkpointed(self, h: Tensor) -> Tensor:
        found: Tensor = checkpoint(torch.sin, h, use_reentrant=False)
        return found


def penalised(model: nn.Module, batch: Any) -> Tensor:
    x = batch[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    return cases.squared(model, batch) + slope.square().mean()


def hostile(habit: str, **changes: Any) -> Task:
    loss = penalised if habit == "penalty" else cases.squared
    return cases.task("mlp", steps=12, model=lambda: Hostile(habit), loss=loss, **changes)


def run(task: Task, driver: str, **options: Any) -> wb.Result:
    return wb.run(
        task,
        options.pop("perturbations", wb.Gaussian(0.01)),
        replicas=2,
        driver=driver,  # type: ignore[arg-type]
        metrics=["l2"],
        progress=False,
        **options,
    )


def last(result: wb.Result) -> dict[str, Tensor]:
    return result.trajectory.at(result.steps[-1]).params


HABITS = {
    "branch": "cannot run in lock step",
    "item": "cannot run in lock step",
    "average": "cannot run in lock step",
    "python": "draws from Python's or NumPy's generator",
    "numpy": "draws from Python's or NumPy's generator",
    "count": "hidden state: it changes calls",
    "late count": "hidden state: it changes calls",
    "remember": "hidden state: it changes mean",
    "function": "torch.func cannot differentiate",
    "checkpointed": "torch.func cannot differentiate",
    "penalty": "torch.func cannot differentiate",
    "in place": "torch.func cannot differentiate",
}
HIDDEN = {"count", "late count", "remember"}
every_habit = pytest.mark.parametrize("habit", HABITS)


@every_habit
def test_auto_falls_back_with_the_reason_and_lockstep_refuses(habit: str) -> None:
    result = run(hostile(habit), "auto")
    assert result.environment["driver"] == "loop"
    assert HABITS[habit] in result.environment["driver_reason"]
    with pytest.raises(wb.DriverError, match=HABITS[habit]):
        run(hostile(habit), "lockstep")
    asked = run(hostile(habit), "loop")
    for name, value in last(result).items():
        assert torch.equal(last(asked)[name], value), name


@every_habit
def test_twins_stay_equal_on_the_loop(habit: str) -> None:
    result = run(hostile(habit), "auto")
    assert result.noise_floor == 0.0
    assert result.warnings == ()


@pytest.mark.parametrize("habit", sorted(HIDDEN))
def test_each_replica_has_hidden_state_of_its_own(habit: str) -> None:
    result = run(hostile(habit), "auto")
    assert result.noise_floor == 0.0
    assert result.warnings == ()


@pytest.mark.parametrize(
    "habit",
    ["branch", "item", "average", "function", "checkpointed", "penalty", *sorted(HIDDEN)],
)
def test_the_loop_trains_them_as_torch_does(habit: str) -> None:
    task = hostile(habit)
    result = run(task, "auto", dtype=torch.float64)
    for name, value in trainable(plain(task).model).items():
        assert relative(last(result)[name][0][None], value.detach()[None]) < 1e-12


def test_inputs_changed_in_place_are_the_models_own() -> None:
    task = hostile("in place", eval_data=cases.PROBLEMS["mlp"].data)
    before = [t.clone() for t in task.data]
    first, second = run(task, "loop"), run(task, "loop")
    assert all(torch.equal(a, b) for a, b in zip(task.data, before, strict=True))
    assert all(torch.equal(last(first)[k], v) for k, v in last(second).items())
    gradient = run(task, "auto", perturbations=[wb.BatchGradient(0.1)])
    assert gradient.noise_floor == 0.0
    start = gradient.trajectory.at(0).params["enter.weight"]
    assert not torch.equal(start[2], start[0])


def test_evaluation_does_not_change_the_users_data() -> None:
    task = hostile("in place", eval_data=tuple(t.clone() for t in cases.PROBLEMS["mlp"].data))
    before = [t.clone() for t in task.eval_data]
    wb.run(task, wb.Gaussian(0.01), replicas=2, metrics=["eval_loss"], progress=False)
    assert all(torch.equal(a, b) for a, b in zip(task.eval_data, before, strict=True))


def test_a_branch_on_the_batch_is_taken_anew_at_each_step() -> None:
    """A recording would keep the first decision: such a step is not recorded."""

    def loss(model: nn.Module, batch: Any) -> Tensor:
        sign = 1.0 if batch[0].sum() > 0 else 3.0
        return sign * cases.squared(model, batch)

    task = cases.task("mlp", steps=12, loss=loss)
    with pytest.raises(wb.DriverError, match="Python reads a tensor's values"):
        run(task, "lockstep")
    one, many = (run(task, driver, dtype=torch.float64) for driver in ("loop", "auto"))
    assert many.environment["mode"] == "object"
    for name, value in last(one).items():
        assert relative(last(many)[name], value) < 1e-12


class Backwards(optim.SGD):
    """A subclass: its step is not that of its torch class."""

    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    p.mul_(0.999)
        return loss


UNSUPPORTED = {
    "Adamax": lambda p: optim.Adamax(p, lr=1e-3),
    "Adadelta": lambda p: optim.Adadelta(p, lr=0.1),
    "LBFGS": lambda p: optim.LBFGS(p, lr=0.05, max_iter=3),
    "Backwards": lambda p: Backwards(p, lr=0.02, momentum=0.5),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_optimizers_without_a_pure_form_use_their_own_object(name: str) -> None:
    task = cases.task("mlp", UNSUPPORTED[name], steps=12)
    result = run(task, "auto", dtype=torch.float64)
    assert (result.environment["driver"], result.environment["mode"]) == ("loop", "object")
    assert name in result.environment["driver_reason"]
    assert result.noise_floor == 0.0
    for key, value in trainable(plain(task).model).items():
        assert relative(last(result)[key][0][None], value.detach()[None]) < 1e-12
    with pytest.raises(wb.DriverError, match=name):
        run(task, "lockstep")


def test_an_error_of_the_models_own_is_not_hidden() -> None:
    class Wrong(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 1)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.layer(x)
            return out

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run(cases.task("mlp", model=Wrong, steps=3), "auto")


def test_an_ordinary_model_is_not_refused() -> None:
    result = run(cases.task("mlp-noisy", steps=2), "lockstep")
    assert result.environment["mode"] == "traced"
