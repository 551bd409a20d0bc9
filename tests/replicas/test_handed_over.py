"""Optimizer state, mode and schedule of the factory train here as in a loop by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import cases
import pytest
import torch
from driving import CPU, relative, train
from torch import Tensor, nn, optim

import wingbeat as wb
from wingbeat.determinism import derive
from wingbeat.params import fixed, trainable
from wingbeat.task.batches import Batches, Streams
from wingbeat.task.step import TrainingStep
from wingbeat.task.task import Task

BITS, ROUNDING = 0.0, 1e-12


def by_hand(
    task: Task,
    optimizer: Callable[[Any], optim.Optimizer],
    *,
    scheduler: Callable[[Any], Any] | None = None,
    mode: Callable[[nn.Module], Any] = nn.Module.train,
    begin: dict[str, Tensor] | None = None,
    steps: int | None = None,
    dtype: torch.dtype = torch.float64,
) -> tuple[nn.Module, Any, list[float]]:
    """Train as anyone would; returns the model, the optimizer and the losses."""
    torch.manual_seed(task.seed)
    model = task.model().to(dtype)
    if begin is not None:
        model.load_state_dict(begin)
    mode(model)
    own = optimizer(list(trainable(model).values()))
    rates = scheduler(own) if scheduler else None
    batches, streams = Batches(task, dtype, CPU), Streams.of(task.seed)
    losses = []
    for step in range(task.steps if steps is None else steps):
        batch = batches.batch(streams, step)

        def closure(batch: Any = batch, noise: int = derive(streams.dropout, step)) -> Tensor:
            torch.manual_seed(noise)
            own.zero_grad()
            loss = task.loss(model, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        losses.append(float(closure().detach()))
        if isinstance(own, optim.LBFGS):
            own.step(closure)  # type: ignore[arg-type]
        else:
            own.step()
        if rates is not None:
            rates.step()
    return model, own, losses


def holds(
    task: Task, expected: nn.Module, driver: str, tolerance: float, dtype: Any = torch.float64
) -> None:
    found = train(task, driver, dtype=dtype, perturbations=())[-1]
    for name, value in {**trainable(expected), **fixed(expected)}.items():
        for row in (0, 1):  # the reference, and the twin
            own = {**found.params, **found.buffers}[name][row]
            apart = relative(own[None], value.detach()[None])
            assert apart <= tolerance, f"{name}: {apart}"


OWN: dict[str, Callable[[Any], optim.Optimizer]] = {
    "adamax": partial(optim.Adamax, lr=1e-3),
    "adadelta": partial(optim.Adadelta, lr=0.1),
    "asgd": partial(optim.ASGD, lr=0.01, t0=5),
    "rprop": partial(optim.Rprop, lr=1e-3),
    "lbfgs": partial(optim.LBFGS, lr=0.05, max_iter=3, history_size=4),
    "adafactor": partial(optim.Adafactor, lr=1e-3),
}
PURE = {name: make for name, make in cases.OPTIMIZERS.items() if name != "groups"}


def resumed_task(make: Callable[[Any], optim.Optimizer]) -> tuple[Task, nn.Module]:
    """Return a task that goes on from a checkpoint, and what the plain loop makes of it."""
    first = cases.task("mlp", make, steps=17)
    model, optimizer, _ = by_hand(first, make)
    weights, state = model.state_dict(), copy.deepcopy(optimizer.state_dict())

    def built() -> nn.Module:
        fresh = cases.dense().to(torch.float64)
        fresh.load_state_dict(weights)
        return fresh

    def loaded(params: Any) -> optim.Optimizer:
        own = make(params)
        own.load_state_dict(copy.deepcopy(state))
        return own

    task = cases.task("mlp", loaded, steps=12, model=built)
    return task, by_hand(task, loaded)[0]


@pytest.mark.parametrize("name", PURE)
@pytest.mark.parametrize("driver", ["loop", "traced", "object"])
def test_a_loaded_optimizer_goes_on(name: str, driver: str) -> None:
    task, expected = resumed_task(PURE[name])
    holds(task, expected, driver, BITS if driver == "object" else ROUNDING)


@pytest.mark.parametrize("name", OWN)
def test_a_loaded_optimizer_object_goes_on_bit_for_bit(name: str) -> None:
    task, expected = resumed_task(OWN[name])
    holds(task, expected, "object", BITS)


def test_parameters_that_took_other_numbers_of_steps_use_the_object() -> None:
    task = cases.task("mlp", steps=10)
    make = partial(optim.Adam, lr=1e-3)
    model, optimizer, _ = by_hand(task, make, steps=9)
    state = optimizer.state_dict()
    del state["state"][0]  # as after unfreezing a layer

    def loaded(params: Any) -> optim.Optimizer:
        own = make(params)
        own.load_state_dict(copy.deepcopy(state))
        return own

    task = cases.task("mlp", loaded, steps=10)
    expected, _, _ = by_hand(task, loaded)
    result = wb.run(task, replicas=1, dtype=torch.float64, metrics=["l2"], progress=False)
    assert "different numbers of steps" in result.environment["driver_reason"]
    last = result.trajectory.at(10).params
    for name, value in trainable(expected).items():
        assert torch.equal(last[name][0], value.detach())


def test_a_loaded_state_is_part_of_the_request() -> None:
    task, _ = resumed_task(partial(optim.Adam, lr=1e-3))
    fresh = cases.task("mlp", partial(optim.Adam, lr=1e-3), steps=12, model=task.model)

    def described(of: Task) -> Any:
        from wingbeat.task.describe import describe  # noqa: PLC0415

        return describe(of, TrainingStep(of, torch.float64, CPU))["optimizer"]

    assert "state" in described(task)
    assert "state" not in described(fresh)
