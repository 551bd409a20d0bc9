"""Stability thresholds against the eigenvalues of each rule's own step on a quadratic."""

from __future__ import annotations

from functools import partial
from math import isnan
from typing import Any

import numpy as np
import pytest
import torch
from curvature.curvature_cases import quadratic
from torch import Tensor

from wingbeat.curvature import adam, gradient_descent, nesterov, polyak, threshold
from wingbeat.curvature.preconditioned import preconditioner, states_along
from wingbeat.curvature.thresholds import of_rule
from wingbeat.errors import NO_THRESHOLD, RequestError
from wingbeat.task.optimizers import pure_optimizer
from wingbeat.task.task import Task


def radius_of_polyak(h: float, lr: float, beta: float) -> float:
    step = np.array([[1 - lr * h, -lr * beta], [h, beta]])
    return float(np.abs(np.linalg.eigvals(step)).max())


def radius_of_nesterov(h: float, lr: float, beta: float) -> float:
    step = np.array([[1 - lr * h * (1 + beta), -lr * beta**2], [h, beta]])
    return float(np.abs(np.linalg.eigvals(step)).max())


def radius_of_adam(h: float, lr: float, beta: float, decay: float = 0.0) -> float:
    """With a constant preconditioner of 1."""
    shrunk = 1 - lr * decay
    step = np.array([[shrunk - lr * (1 - beta) * h, -lr * beta], [(1 - beta) * h, beta]])
    return float(np.abs(np.linalg.eigvals(step)).max())


def crossing(radius: Any, low: float, high: float) -> float:
    """Bisect for the curvature at which the radius passes 1."""
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if radius(middle) <= 1 + 1e-14 else (low, middle)
    return (low + high) / 2


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("lr", [0.003, 0.1, 2.0])
def test_momentum_thresholds_to_nine_digits(lr: float, beta: float) -> None:
    pairs = (
        (polyak(lr, beta), radius_of_polyak),
        (nesterov(lr, beta), radius_of_nesterov),
        (adam(lr, beta), radius_of_adam),
    )
    for value, radius in pairs:
        found = crossing(partial(radius, lr=lr, beta=beta), value / 3, 3 * value)
        assert found == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("decay", [0.01, 0.5])
def test_decoupled_decay_lowers_adams_threshold(decay: float) -> None:
    value = adam(0.1, 0.9, decay)
    found = crossing(partial(radius_of_adam, lr=0.1, beta=0.9, decay=decay), value / 3, 3 * value)
    assert found == pytest.approx(value, rel=1e-9)
    assert value < adam(0.1, 0.9)


def test_published_numbers() -> None:
    assert gradient_descent(0.01) == 200.0
    assert polyak(0.1, 0.9) == pytest.approx(38.0)
    assert nesterov(0.1, 0.9) == pytest.approx(13.571, abs=5e-4)
    assert adam(0.1, 0.9) == pytest.approx(380.0)


RULES: dict[str, tuple[Any, dict[str, Any]]] = {
    "gradient descent": (torch.optim.SGD, {}),
    "heavy ball": (torch.optim.SGD, {"momentum": 0.9}),
    "nesterov": (torch.optim.SGD, {"momentum": 0.8, "nesterov": True}),
    "dampened": (torch.optim.SGD, {"momentum": 0.9, "dampening": 0.4}),
    "penalty": (torch.optim.SGD, {"momentum": 0.5, "weight_decay": 0.7}),
}


def _size_after(curvature: float, kind: Any, options: dict[str, Any]) -> tuple[float, float]:
    """Weight of the engine's own run on ½hw², early and late."""
    task = quadratic(torch.tensor([[curvature]]), lr=0.05, steps=120, **options)
    early, late = (m.state.params.abs().item() for m in states_along(task, (40, 120)))
    return early, late


@pytest.mark.parametrize("name", list(RULES))
def test_the_engines_own_run_agrees(name: str) -> None:
    kind, options = RULES[name]
    found = threshold(quadratic(torch.tensor([[1.0]]), lr=0.05, **options))
    assert found.of == "sharpness"
    limit = found.value - found.penalty
    early, late = _size_after(0.93 * limit, kind, options)
    assert late < early
    early, late = _size_after(1.07 * limit, kind, options)
    assert late > early


def _rule(optimizer: Any) -> Any:
    return pure_optimizer(optimizer([torch.nn.Parameter(torch.zeros(2))]))


@pytest.mark.parametrize(
    ("optimizer", "value", "of"),
    [
        (partial(torch.optim.Adam, lr=0.1), 380.0, "preconditioned sharpness"),
        (
            partial(torch.optim.AdamW, lr=0.1, weight_decay=1.0),
            361.0,
            "preconditioned sharpness",
        ),
        (partial(torch.optim.RMSprop, lr=0.1), 20.0, "preconditioned sharpness"),
        (partial(torch.optim.RMSprop, lr=0.1, momentum=0.9), 38.0, "preconditioned sharpness"),
        (partial(torch.optim.Adagrad, lr=0.1), 20.0, "preconditioned sharpness"),
        (partial(torch.optim.SGD, lr=0.1), 20.0, "sharpness"),
    ],
)
def test_thresholds_by_optimizer(optimizer: Any, value: float, of: str) -> None:
    found = of_rule(_rule(optimizer))
    assert found.value == pytest.approx(value)
    assert found.of == of
    assert of_rule(_rule(optimizer), factor=0.5).value >= found.value * 1.9


@pytest.mark.parametrize(
    "optimizer",
    [
        partial(torch.optim.NAdam, lr=0.1),
        partial(torch.optim.SGD, lr=0.1, maximize=True),
        partial(torch.optim.SGD, lr=0.0),
    ],
)
def test_no_threshold_is_said_with_a_reason(optimizer: Any) -> None:
    found = of_rule(_rule(optimizer))
    assert isnan(found.value)
    assert found.reason == NO_THRESHOLD


def test_groups_and_unknown_optimizers() -> None:
    from cases import task

    assert threshold(task("groups")).reason == NO_THRESHOLD
    foreign = task("mlp", torch.optim.LBFGS)
    assert threshold(foreign).reason == NO_THRESHOLD


def test_the_schedule_moves_the_threshold() -> None:
    task = quadratic(torch.tensor([[1.0]]), lr=0.1)
    halved = Task(**{**vars(task), "schedule": lambda step: 1.0 if step < 5 else 0.5})
    assert threshold(halved, 0).value == 20.0
    assert threshold(halved, 5).value == 40.0


def _steps(optimizer: Any) -> tuple[Any, list[Tensor], list[dict[str, Tensor]]]:
    """Ten steps of a pure rule with random gradients."""
    rule, generator = _rule(optimizer), torch.Generator().manual_seed(0)
    params = torch.zeros(2, dtype=torch.float64)
    slots, seen, states = rule.start(params), [params], []
    for i in range(10):
        grad = torch.randn(2, generator=generator, dtype=torch.float64)
        c = [torch.tensor(x, dtype=torch.float64) for x in rule.coefficients(i, 1.0)]
        params, slots = rule.update(grad, slots, params, c)
        seen.append(params)
        states.append({**slots, "grad": grad})
    return rule, seen, states


@pytest.mark.parametrize(
    ("optimizer", "numerator"),
    [
        (partial(torch.optim.Adam, lr=0.1), lambda s: 0.1 * s["gradient_sum"]),
        (partial(torch.optim.Adam, lr=0.1, amsgrad=True), lambda s: 0.1 * s["gradient_sum"]),
        (partial(torch.optim.RMSprop, lr=0.1), lambda s: s["grad"]),
        (partial(torch.optim.RMSprop, lr=0.1, centered=True), lambda s: s["grad"]),
        (partial(torch.optim.Adagrad, lr=0.1), lambda s: s["grad"]),
    ],
)
def test_a_step_is_the_average_gradient_over_the_preconditioner(
    optimizer: Any, numerator: Any
) -> None:
    rule, seen, states = _steps(optimizer)
    for i, slots in enumerate(states):
        scale = preconditioner(rule, slots, i + 1)
        assert scale is not None
        expected = -0.1 * numerator(slots) / scale
        assert torch.allclose(seen[i + 1] - seen[i], expected, rtol=1e-9)


def test_a_scale_before_the_first_update_and_of_plain_descent() -> None:
    assert preconditioner(_rule(partial(torch.optim.SGD, lr=0.1)), {}, 0) is None
    with pytest.raises(RequestError, match="after its first"):
        preconditioner(_rule(torch.optim.Adam), {}, 0)


@pytest.mark.parametrize("bad", [lambda: polyak(0.0, 0.5), lambda: nesterov(0.1, 1.0)])
def test_rates_out_of_range(bad: Any) -> None:
    with pytest.raises(RequestError):
        bad()


def test_the_bias_correction_of_a_constant_gradient_cancels() -> None:
    rule, _, states = _steps(partial(torch.optim.Adam, lr=0.1, betas=(0.9, 0.99), eps=0.0))
    v = 0.01 * states[4]["square_sum"] / (1 - 0.99**5)
    expected = (1 - 0.9**5) * v.sqrt()
    scale = preconditioner(rule, states[4], 5)
    assert scale is not None
    assert torch.allclose(scale, expected)
