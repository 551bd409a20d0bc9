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
    _, optimizer, _ = by_hand(task, make, steps=9)
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
        from wingbeat.task.describe import describe

        return describe(of, TrainingStep(of, torch.float64, CPU))["optimizer"]

    assert "state" in described(task)
    assert "state" not in described(fresh)


# --- schedules -------------------------------------------------------------------------------

LR = torch.optim.lr_scheduler
SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "lambda": lambda o: LR.LambdaLR(o, lambda step: 1 / (1 + step)),
    "warm-up from 0": lambda o: LR.LambdaLR(o, lambda step: min(1.0, step / 5)),
    "step": lambda o: LR.StepLR(o, 3, 0.5),
    "cosine": lambda o: LR.CosineAnnealingLR(o, 16),
    "restarts": lambda o: LR.CosineAnnealingWarmRestarts(o, 5),
    "sequence": lambda o: LR.SequentialLR(
        o, [LR.LinearLR(o, 0.1, total_iters=4), LR.ExponentialLR(o, 0.9)], milestones=[4]
    ),
    "cycle of the rate alone": lambda o: LR.OneCycleLR(o, 0.01, 16, cycle_momentum=False),
    "one cycle": lambda o: LR.OneCycleLR(o, 0.01, 16),
    "cyclic": lambda o: LR.CyclicLR(o, 1e-4, 1e-2, 3, cycle_momentum=False),
}
MOVED = {"one cycle"}
every_scheduler = pytest.mark.parametrize("name", SCHEDULERS)


@every_scheduler
@pytest.mark.parametrize("optimizer", ["momentum", "adamw", "groups"])
@pytest.mark.parametrize("driver", ["loop", "object"])
def test_a_scheduler_of_torch_is_followed(name: str, optimizer: str, driver: str) -> None:
    if optimizer == "groups" and name == "one cycle":
        pytest.skip("OneCycleLR needs momentum, which these groups do not have")
    scheduler, make = SCHEDULERS[name], cases.OPTIMIZERS[optimizer]
    task = cases.task("mlp", make, steps=16, schedule=scheduler)
    expected, _, _ = by_hand(task, make, scheduler=scheduler)
    exact = driver == "object" or name in MOVED
    driver = "object" if name in MOVED else driver
    holds(task, expected, driver, BITS if exact else ROUNDING)


def test_a_scheduler_of_torch_runs_in_lock_step() -> None:
    scheduler = SCHEDULERS["sequence"]
    task = cases.task("mlp", "groups", steps=16, schedule=scheduler)
    expected, _, _ = by_hand(task, cases.OPTIMIZERS["groups"], scheduler=scheduler)
    holds(task, expected, "traced", ROUNDING)


def test_groups_may_have_rates_of_their_own() -> None:
    def scheduler(optimizer: Any) -> Any:
        return LR.LambdaLR(optimizer, [lambda step: 0.9**step, lambda step: 1 / (1 + step)])

    task = cases.task("mlp", "groups", steps=16, schedule=scheduler)
    expected, _, _ = by_hand(task, cases.OPTIMIZERS["groups"], scheduler=scheduler)
    holds(task, expected, "traced", ROUNDING)
    with pytest.raises(wb.RequestError, match="different factors"):
        task.factor(3)


def test_a_rate_of_zero_in_the_optimizer_is_the_schedulers_to_set() -> None:
    make, scheduler = partial(optim.SGD, lr=0.0, momentum=0.9), SCHEDULERS["one cycle"]
    task = cases.task("mlp", make, steps=16, schedule=SCHEDULERS["cycle of the rate alone"])
    expected, _, _ = by_hand(task, make, scheduler=SCHEDULERS["cycle of the rate alone"])
    holds(task, expected, "traced", ROUNDING)
    moved = cases.task("mlp", make, steps=16, schedule=scheduler)
    result = wb.run(moved, replicas=1, metrics=["l2"], progress=False)
    assert "OneCycleLR moves momentum too" in result.environment["driver_reason"]


def test_a_scheduler_goes_on_with_a_loaded_optimizer() -> None:
    make, plain = partial(optim.Adam, lr=1e-3), partial(LR.CosineAnnealingLR, T_max=40)
    model, optimizer, _ = by_hand(cases.task("mlp", make, steps=15), make, scheduler=plain)
    weights, state = model.state_dict(), copy.deepcopy(optimizer.state_dict())

    def loaded(params: Any) -> optim.Optimizer:
        own = make(params)
        own.load_state_dict(copy.deepcopy(state))
        return own

    def built() -> nn.Module:
        fresh = cases.dense().to(torch.float64)
        fresh.load_state_dict(weights)
        return fresh

    def further(optimizer: Any) -> Any:
        return plain(optimizer, last_epoch=14)

    task = cases.task("mlp", loaded, steps=12, model=built, schedule=further)
    expected, _, _ = by_hand(task, loaded, scheduler=further)
    holds(task, expected, "traced", ROUNDING)
    holds(task, expected, "object", BITS)


def wrapped(params: Any) -> optim.Optimizer:
    optimizer = optim.SGD(params, lr=0.1)
    LR.LambdaLR(optimizer, lambda step: min(1.0, step / 5))
    return optimizer


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "in the factory": ({"optimizer": wrapped}, "schedule=lambda optimizer: TheScheduler"),
    "a rate": ({"schedule": lambda step: 0.02 * 0.9**step}, r"factor of that rate.*/ 0\.02"),
    "a warm rate": ({"schedule": lambda step: 0.02 * min(1, step / 4)}, "factor of that rate"),
    "plateau": ({"schedule": LR.ReduceLROnPlateau}, "ReduceLROnPlateau follows a measure"),
    "too short": ({"schedule": lambda o: LR.OneCycleLR(o, 0.1, 5)}, "OneCycleLR.*16 updates"),
    "an object": ({"schedule": LR.StepLR(optim.SGD([torch.ones(1)]), 1)},
                  r"schedule=lambda optimizer: StepLR\(optimizer, ...\)"),
    "a number": ({"schedule": 0.5}, "schedule is 0.5"),
    "fails": ({"schedule": lambda step: [1.0, 0.5][step + 7]}, "failed at step 0: IndexError"),
    "no rate": ({"schedule": lambda step: 1.0, "optimizer": partial(optim.SGD, lr=None)}, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_schedules_that_would_be_misread_are_refused(name: str) -> None:
    if name == "no rate":
        pytest.skip("torch.optim.SGD has no lr=None; see the composite optimizers")
    changes, said = REFUSED[name]
    changes = {"optimizer": partial(optim.SGD, lr=0.02), **changes}
    with pytest.raises(wb.RequestError, match=said):
        TrainingStep(cases.task("mlp", steps=16, **changes), torch.float32, CPU)


def test_factors_that_touch_one_are_no_rates() -> None:
    task = cases.task("mlp", partial(optim.SGD, lr=0.1), steps=16)
    for schedule in (lambda step: 0.1 + 0.9 * step / 15, lambda step: 0.97**step):
        TrainingStep(cases.replace(task, schedule=schedule), torch.float32, CPU)


# --- mode ------------------------------------------------------------------------------------


class Dropping(nn.Module):
    """Two dropout layers and a batch norm, built in eval mode, as ``from_pretrained`` does it."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(4, 8), nn.Linear(8, 1)
        self.first, self.second = nn.Dropout(0.3), nn.Dropout(0.3)
        self.norm = nn.BatchNorm1d(8)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(torch.tanh(self.norm(self.enter(x))))
        out: Tensor = self.leave(self.second(hidden))
        return out


def half_still() -> nn.Module:
    model = Dropping().train()
    model.norm.eval()
    return model


@pytest.mark.parametrize("driver", ["loop", "traced", "object"])
def test_a_model_in_eval_mode_trains_in_train_mode(driver: str) -> None:
    make = partial(optim.SGD, lr=0.02, momentum=0.9)
    task = cases.task("mlp", make, steps=12, model=Dropping)
    expected, _, _ = by_hand(task, make)
    still, _, _ = by_hand(task, make, mode=nn.Module.eval)
    assert not torch.allclose(expected.enter.weight, still.enter.weight)
    holds(task, expected, driver, ROUNDING)
    holds(cases.replace(task, mode="as built"), still, driver, ROUNDING)


@pytest.mark.parametrize("driver", ["loop", "traced", "object"])
def test_modules_put_into_eval_mode_on_purpose_stay_there(driver: str) -> None:
    make = partial(optim.SGD, lr=0.02)
    task = cases.task("mlp", make, steps=12, model=half_still, mode="as built")
    expected, _, _ = by_hand(task, make, mode=lambda model: None)
    holds(task, expected, driver, ROUNDING)


def test_the_mode_is_in_the_description_where_it_matters() -> None:
    def mode(**changes: Any) -> Any:
        task = cases.task("mlp", steps=2, **changes)
        result = wb.run(task, metrics=["l2"], replicas=1, progress=False)
        return result.condition["task"].get("mode")

    assert mode() is None
    assert mode(model=Dropping) == "train"
    assert mode(mode="as built") == "as built"
    with pytest.raises(wb.RequestError, match="mode is 'eval'"):
        cases.task("mlp", mode="eval")


@pytest.mark.parametrize("driver", ["auto", "loop", "lockstep"])
def test_a_run_calls_the_model_factory_at_most_twice(driver: Any) -> None:
    calls = 0

    def counted() -> nn.Module:
        nonlocal calls
        calls += 1
        return cases.dense()

    task = cases.task("mlp", steps=4, model=counted, eval_data=cases.PROBLEMS["mlp"].data)
    wb.run(task, wb.Gaussian(0.01), replicas=2, driver=driver, progress=False)
    assert calls <= 2
    calls = 0
    wb.run(task, wb.Init(), replicas=3, driver=driver, metrics=["l2"], progress=False)
    assert calls <= 2 + 3
