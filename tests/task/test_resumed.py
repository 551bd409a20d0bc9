"""An optimizer that was handed over with a checkpoint's state goes on as torch's own does."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_optimizers import (
    CASES,
    SIZE,
    changing,
    difference,
    every_case,
    numbers,
    parameter,
    weights,
)
from test_optimizers import gradient as double_gradient
from torch import Tensor, optim

from wingbeat.errors import DriverError
from wingbeat.task.optimizers import PureOptimizer, pure_optimizer, resumed_state

BEFORE, AFTER = 23, 40


def gradient(flat: Tensor) -> Tensor:
    return double_gradient(flat.double()).to(flat.dtype)


def torch_loop(
    optimizer: optim.Optimizer, pieces: list[Tensor], steps: int, factor: Callable[[int], float]
) -> None:
    """Train as anyone would; ``factor`` multiplies the rates that the optimizer came with."""
    rates = [group["lr"] for group in optimizer.param_groups]
    for step in range(steps):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * factor(step)
        slopes = gradient(torch.cat([p.detach() for p in pieces]))
        parts = slopes.split([p.numel() for p in pieces])
        for piece, slope in zip(pieces, parts, strict=True):
            piece.grad = slope.reshape(piece.shape).clone()
        optimizer.step()
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def pure_loop(
    rule: PureOptimizer, state: dict[str, Tensor], params: Tensor, factor: Callable[[int], float]
) -> Tensor:
    for step in range(AFTER):
        c = numbers(rule, step, factor(step))
        params, state = rule.update(gradient(params), state, params, c)
    return params


def split(flat: Tensor, sizes: tuple[int, ...]) -> list[torch.nn.Parameter]:
    return [parameter(piece) for piece in flat.split(list(sizes))]


def both(make: Callable[[Any], optim.Optimizer], sizes: tuple[int, ...], dtype: Any) -> float:
    """Return how far the pure form is from torch's loop, both resumed from one checkpoint."""
    first = split(weights(dtype), sizes)
    optimizer = make(first)
    torch_loop(optimizer, first, BEFORE, changing)
    checkpoint, reached = optimizer.state_dict(), torch.cat([p.detach() for p in first])

    plain = split(reached, sizes)
    resumed = make(plain)
    resumed.load_state_dict(copy.deepcopy(checkpoint))
    torch_loop(resumed, plain, AFTER, changing)

    ours = split(reached, sizes)
    handed = make(ours)
    handed.load_state_dict(copy.deepcopy(checkpoint))
    rule = pure_optimizer(handed)
    state = resumed_state(rule, handed, [group["params"] for group in handed.param_groups])
    found = pure_loop(rule, state or rule.start(reached), reached.clone(), changing)
    expected = torch.cat([p.detach() for p in plain])
    assert difference(expected, reached) > 1e-4  # it moved
    return difference(found, expected)


TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}
every_dtype = pytest.mark.parametrize("dtype", TOLERANCE, ids=["float64", "float32"])


@every_case
@every_dtype
def test_every_optimizer_goes_on_from_its_checkpoint(
    kind: Any, options: dict[str, Any], dtype: torch.dtype
) -> None:
    if dtype is torch.float32 and options.get("centered"):
        pytest.skip("the centred variance magnifies rounding, in torch as here")
    assert both(lambda p: kind(p, **options), (SIZE,), dtype) < TOLERANCE[dtype]


@pytest.mark.parametrize("kind", sorted({k for k, _ in CASES}, key=lambda k: k.__name__))
def test_groups_go_on_from_their_checkpoint(kind: Any) -> None:
    def make(pieces: list[Any]) -> optim.Optimizer:
        groups = [{"params": pieces[:2], "lr": 2e-3}, {"params": pieces[2:], "weight_decay": 0.1}]
        return kind(groups, lr=1e-3)  # type: ignore[no-any-return]

    assert both(make, (6, 18, 13), torch.float64) < 1e-12


def test_groups_may_have_taken_different_numbers_of_steps() -> None:
    """One group was frozen for a while: each goes on with its own count."""

    def make(pieces: list[Any]) -> optim.Optimizer:
        return optim.Adam([{"params": pieces[:1]}, {"params": pieces[1:], "lr": 3e-3}], lr=1e-3)

    first = split(weights(), (24, 13))
    optimizer = make(first)
    first[0].grad = None
    for _ in range(7):
        first[1].grad = gradient(torch.cat([p.detach() for p in first]))[24:]
        optimizer.step()
    torch_loop(optimizer, first, BEFORE, changing)
    checkpoint, reached = optimizer.state_dict(), torch.cat([p.detach() for p in first])
    plain, ours = split(reached, (24, 13)), split(reached, (24, 13))
    resumed, handed = make(plain), make(ours)
    resumed.load_state_dict(copy.deepcopy(checkpoint))
    handed.load_state_dict(copy.deepcopy(checkpoint))
    torch_loop(resumed, plain, AFTER, changing)
    rule = pure_optimizer(handed)
    state = resumed_state(rule, handed, [group["params"] for group in handed.param_groups])
    assert state is not None
    found = pure_loop(rule, state, reached.clone(), changing)
    assert difference(found, torch.cat([p.detach() for p in plain])) < 1e-12


@every_case
def test_a_fresh_optimizer_has_no_state(kind: Any, options: dict[str, Any]) -> None:
    own = parameter(weights())
    optimizer = kind([own], **options)
    rule = pure_optimizer(optimizer)
    found = resumed_state(rule, optimizer, [[own]])
    assert rule.taken == 0
    for slot, value in (found or {}).items():  # Adagrad fills its sum before the first step
        assert torch.equal(value, rule.start(weights())[slot])


def test_negative_averages_of_squares_are_refused() -> None:
    """torch's step makes NaN of them; the object itself is left to do it."""
    own = parameter(weights())
    optimizer = optim.Adam([own])
    own.grad = torch.ones_like(own)
    optimizer.step()
    optimizer.state[own]["exp_avg_sq"][3] = -1.0
    with pytest.raises(DriverError, match="negative averages of squares"):
        resumed_state(pure_optimizer(optimizer), optimizer, [[own]])
