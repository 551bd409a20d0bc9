"""Copies in 16 bits, each with its own gradient scaler, in one call: loops by hand with torch's.

A growing scale makes every copy overflow now and then, and copies with larger weights earlier. What
a copy leaves out must leave its weights, moments and count alone, and nobody else's.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim
from torch.optim import lr_scheduler

import wingbeat as wb
from wingbeat.replicas.drivers.lockstep import Lockstep
from wingbeat.replicas.drivers.loop import Loop
from wingbeat.replicas.drivers.object_loop import alone
from wingbeat.replicas.drivers.plain import _tells_apart
from wingbeat.replicas.fork import REFERENCE, twin
from wingbeat.replicas.replicas import Replicas
from wingbeat.task.batches import Batches, Streams
from wingbeat.task.precision import SCALE, SKIPPED, TRACKER, LossScaling
from wingbeat.task.step import State, TrainingStep

STEPS, POINTS, COPIES = 20, 8, 5
GENERATOR = torch.Generator().manual_seed(3)
X = torch.randn(STEPS * POINTS, 4, generator=GENERATOR)
Y = torch.sin(X[:, :1])
ROUNDING = 2.0**-10
"""Of a number of half precision."""


def net() -> nn.Module:
    return nn.Sequential(
        nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 1)
    )


def squares(model: nn.Module, batch: Any) -> Tensor:
    return F.mse_loss(model(batch[0]), batch[1])


def scaler() -> torch.amp.GradScaler:
    """Return one whose scale doubles after every third update, from where copies differ."""
    return torch.amp.GradScaler("cpu", init_scale=2.0**16, growth_interval=3)


def halving(optimizer: optim.Optimizer) -> Any:
    return lr_scheduler.StepLR(optimizer, 4, 0.5)


def grouped(model: Any) -> optim.Optimizer:
    flat = [p for p in model.parameters() if p.dim() < 2]
    deep = [p for p in model.parameters() if p.dim() >= 2]
    groups = [{"params": deep, "weight_decay": 0.1}, {"params": flat, "lr": 1e-3}]
    return optim.AdamW(groups, lr=2e-3, eps=1e-3)


Case = tuple[Callable[[Any], optim.Optimizer], dict[str, Any]]
CASES: dict[str, Case] = {
    "AdamW by kind, scheduler, clipped": (grouped, {"schedule": halving, "clip_norm": 0.5}),
    "Adam, two batches": (lambda p: optim.Adam(p, 2e-3, eps=1e-3), {"accumulate": 2}),
    "AMSGrad": (lambda p: optim.Adam(p, 2e-3, eps=1e-3, amsgrad=True), {}),
    "NAdam": (lambda p: optim.NAdam(p, 2e-3, eps=1e-3), {}),
    "RAdam": (lambda p: optim.RAdam(p, 2e-3, eps=1e-3), {}),
    "RMSprop": (lambda p: optim.RMSprop(p, 1e-3, eps=1e-2, momentum=0.5), {}),
    "Adagrad that decays": (lambda p: optim.Adagrad(p, 1e-2, lr_decay=0.1, eps=1e-2), {}),
    "SGD, dampened from the second on": (
        lambda p: optim.SGD(p, 2e-3, momentum=0.9, dampening=0.3, weight_decay=0.01), {}),
}  # fmt: skip


def task(name: str, **changes: Any) -> wb.Task:
    optimizer, more = CASES[name]
    batch = POINTS // more.get("accumulate", 1)
    own = {"model": net, "precision": "fp16", "scaler": scaler, "sampling": "sequential"}
    given = {"loss": squares, "data": (X, Y), "optimizer": optimizer, "batch_size": batch}
    return wb.Task(**{**own, **given, "steps": STEPS, **more, **changes})


def starts(step: TrainingStep) -> State:
    """Return a stack whose copies lie ever farther out: their gradients are ever larger."""
    first, _ = step.start(0), torch.manual_seed(1)
    rows = [first.map(torch.clone) for _ in range(COPIES)]
    moved = [r.params + 0.5 * i * torch.randn_like(r.params) for i, r in enumerate(rows)]
    slots = {k: torch.stack([t] * COPIES) for k, t in first.slots.items()}
    return State(torch.stack(moved), {}, slots)


def batches(accumulate: int) -> list[list[tuple[Tensor, Tensor]]]:
    size = POINTS // accumulate
    cut = list(zip(X.split(size), Y.split(size), strict=True))
    return [cut[i * accumulate : (i + 1) * accumulate] for i in range(STEPS)]


def by_hand(name: str, weights: Tensor, step: TrainingStep) -> list[dict[str, Any]]:
    """Train one copy as scripts do; returns weights, count, scale and tracker after each update."""
    optimizer, more = CASES[name]
    model = net()
    with torch.no_grad():
        for own, value in step.layout.unflatten(weights).items():
            dict(model.named_parameters())[own].copy_(value)
    opt = optimizer(model if optimizer is grouped else model.parameters())
    amp = scaler()
    scheduler = more["schedule"](opt) if "schedule" in more else None
    found = []
    many = more.get("accumulate", 1)
    for parts in batches(many):
        opt.zero_grad()
        for batch in parts:
            with torch.autocast("cpu", torch.float16):
                loss = squares(model, batch)
            amp.scale(loss / many).backward()
        if "clip_norm" in more:
            amp.unscale_(opt)
            nn.utils.clip_grad_norm_(model.parameters(), more["clip_norm"])
        before = model[0].weight.detach().clone()  # type: ignore[index,operator,union-attr]
        amp.step(opt)
        amp.update()
        if scheduler is not None:
            with warnings.catch_warnings():  # it is stepped before an optimizer that overflows
                warnings.simplefilter("ignore", UserWarning)
                scheduler.step()
        state = amp.state_dict()
        flat = step.layout.flatten({k: p.detach().clone() for k, p in model.named_parameters()})
        skipped = torch.equal(before, model[0].weight)  # type: ignore[index,arg-type]
        found.append({"weights": flat, "skipped": skipped, **state})
    return found


def trained(name: str, driver: Any, step: TrainingStep) -> tuple[list[State], State]:
    begin = now = starts(step)
    found = []
    for index, parts in enumerate(batches(CASES[name][1].get("accumulate", 1))):
        batch = parts if len(parts) > 1 else parts[0]
        now, _ = driver(now, batch, index)
        found.append(now)
    return found, begin


FAST = ("AdamW by kind, scheduler, clipped",)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in FAST else [pytest.mark.slow]) for n in CASES]
)
def test_each_copy_scales_and_skips_as_its_own_loop(name: str) -> None:
    step = TrainingStep(task(name), torch.float32, torch.device("cpu"))
    found, begin = trained(name, Lockstep(step), step)
    patterns = []
    for copy in range(COPIES):
        plain = by_hand(name, begin.params[copy], step)
        patterns.append([one["skipped"] for one in plain])
        for index, (own, one) in enumerate(zip(found, plain, strict=True)):
            where = (name, copy, index)
            assert own.slots[SCALE][copy] == one["scale"], where
            assert own.slots[TRACKER][copy] == one["_growth_tracker"], where
            assert own.slots[SKIPPED][copy] == sum(patterns[-1][: index + 1]), where
            apart = (own.params[copy] - one["weights"]).abs().max()
            # A stack of products may round a half otherwise than one; steps carry it on.
            assert apart <= 4 * ROUNDING * one["weights"].abs().max(), (where, apart)
    skips = [sum(pattern) for pattern in patterns]
    assert len(set(map(tuple, patterns))) > 1, "copies are to overflow at different steps"
    assert 0 < min(skips) <= max(skips) < STEPS, skips


def test_what_is_left_out_leaves_a_copy_as_it_was() -> None:
    """To the bit: weights and moments of the copies that overflow, and of no other."""
    name = FAST[0]
    step = TrainingStep(task(name), torch.float32, torch.device("cpu"))
    driver = Lockstep(step, "eager")
    now, moved = starts(step), 0
    for index, (batch,) in enumerate(batches(1)):
        before = now
        now, _ = driver(now, batch, index)
        for copy in range(COPIES):
            out = bool(now.slots[SKIPPED][copy] > before.slots[SKIPPED][copy])
            pairs = [(now.params, before.params)]
            pairs += [(now.slots[k], before.slots[k]) for k in ("gradient_sum", "square_sum")]
            assert all(torch.equal(a[copy], b[copy]) == out for a, b in pairs), (index, copy)
            moved += not out
    assert 0 < moved < STEPS * COPIES


def test_one_copy_alone_takes_the_same_steps() -> None:
    """Bitwise, where both multiply alike: in the pure step a stack of one is what all are."""
    name = FAST[0]
    step = TrainingStep(task(name), torch.float32, torch.device("cpu"))
    driver, loop = Lockstep(step, "eager"), Loop(step)
    begin = starts(step).map(lambda t: t[2:3])
    twice, one = begin.map(lambda t: torch.cat([t, t])), begin
    for index, (batch,) in enumerate(batches(1)):
        twice, _ = driver(twice, batch, index)
        one, _ = loop(one, batch, index)
        assert torch.equal(twice.params[0], twice.params[1])
        for slot in (SCALE, TRACKER, SKIPPED):
            assert torch.equal(twice.slots[slot][:1], one.slots[slot]), (slot, index)
    assert torch.allclose(twice.params[:1], one.params, rtol=0, atol=4 * ROUNDING)


@pytest.mark.parametrize(
    "settings",
    [
        {"growth_interval": 3},
        {"init_scale": 3.0, "growth_factor": 1.7, "backoff_factor": 0.3, "growth_interval": 2},
        {"init_scale": 2.0**127, "growth_interval": 1},  # no scale is infinite
        {"init_scale": 2.0**-145, "growth_interval": 50},  # down to nothing
    ],
)
def test_scale_and_tracker_are_those_of_torch(settings: dict[str, Any]) -> None:
    """Bitwise, over updates that overflow at random."""
    amp, weight = torch.amp.GradScaler("cpu", **settings), nn.Parameter(torch.ones(3))
    opt = optim.SGD([weight], 0.1)
    own = LossScaling.of(amp)
    slots, draw = own.start(torch.device("cpu")), random.Random(0)
    for _ in range(60):
        overflows = draw.random() < 0.3
        weight.grad = torch.tensor([1.0, torch.inf if overflows else 0.37, -2.0])
        scaled = weight.grad.clone()
        amp.scale(torch.zeros(()))
        amp.unscale_(opt)
        grad, finite = own.unscaled(scaled, slots)
        assert bool(finite) != overflows
        assert torch.equal(grad.nan_to_num(), weight.grad.nan_to_num())
        amp.step(opt)
        amp.update()
        slots = own.moved_on(finite, slots)
        assert slots[SCALE] == amp.get_scale()
        assert slots[TRACKER] == amp.state_dict()["_growth_tracker"]


def chosen(steps: int = 2, **changes: Any) -> wb.Result:
    own = {"driver": "auto", "replicas": 1, "metrics": ["l2"], "progress": False}
    found = wb.run(task(FAST[0], steps=steps, **changes), wb.Gaussian(0.01), **own)
    assert found.noise_floor == 0.0
    return found


def steep(model: nn.Module, batch: Any) -> Tensor:
    """Turn the last digit of a half into another loss."""
    return torch.sin(3e3 * model(batch[0])).mean()


def blinking() -> nn.Module:
    """Draw masks that hardly change a loss: wrong ones would pass for roundings."""
    return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.05), nn.Tanh(), nn.Linear(8, 1))


def test_a_stack_that_rounds_otherwise_is_said_and_trained_one_by_one() -> None:
    found = chosen(loss=steep)
    assert found.environment["driver"] == "loop"
    assert "does not repeat the plain loop" in found.environment["driver_reason"]
    assert "a stack of fp16 products rounds otherwise" in found.environment["driver_reason"]


NORMS: dict[str, Callable[[], nn.Module]] = {
    "layer": lambda: nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 1)),
    "batch": lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1)),
    "group": lambda: nn.Sequential(nn.Linear(4, 8), nn.GroupNorm(2, 8), nn.Linear(8, 1)),
}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("kind", NORMS)
def test_a_norm_of_what_a_product_returned_runs_in_lock_step(kind: str, precision: str) -> None:
    """torch has no differentiated form of it for two types."""
    more: dict[str, Any] = {"scaler": None} if precision == "bf16" else {}
    found = chosen(model=NORMS[kind], precision=precision, **more)
    assert found.environment["driver"] == "lockstep", found.environment["driver_reason"]


@pytest.mark.parametrize("draws", [False, True])
def test_a_tolerance_is_trusted_where_it_tells_other_masks_apart(
    draws: bool,
) -> None:
    step = TrainingStep(
        task(FAST[0], model=blinking if draws else net), torch.float32, torch.device("cpu")
    )
    loop, source = alone(step), Batches(step.task, torch.float32, torch.device("cpu"))
    plain = Replicas(loop, source, 1)
    start = step.start(0).map(lambda t: t.unsqueeze(0))
    plain.place([twin(REFERENCE, Streams.of(0))], [start])
    plain.advance(0)
    loss = float(plain.take_losses()[0, 0])
    plain.place(plain.members, [start])
    assert _tells_apart(plain, loss, 0.5) == (not draws)
    plain.place(plain.members, [start])
    assert _tells_apart(plain, loss, 1e-12)
