"""Exact identities of the training map with its optimizer's state, at every step."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import log
from typing import Any

import cases
import numpy as np
import pytest
import torch
from torch import nn, optim
from training_cases import digits_net, iris

from wingbeat.lyapunov.training.exponents import training_spectrum
from wingbeat.lyapunov.training.tangent import TangentStep
from wingbeat.task.task import Task

IDENTITY = 1e-12


def jacobians(task: Task, steps: int, warmup: int = 1) -> tuple[list[torch.Tensor], int]:
    own = TangentStep(task, recorded=False)
    state, found = own.start(), []
    for index in range(warmup + steps):
        if index >= warmup:
            found.append(own.jacobian(state, index))
        state, _ = own.plain(state, index)
    return found, own.coordinates.layout.size


def volumes(task: Task, steps: int = 3) -> tuple[np.ndarray, int]:
    found, size = jacobians(task, steps)
    return np.array([float(torch.linalg.slogdet(j).logabsdet) for j in found]), size


MOMENTUM = partial(optim.SGD, lr=0.3, momentum=0.9, weight_decay=1e-3)


def test_momentum_shrinks_volume_by_its_rate() -> None:
    found, size = volumes(iris(0.3, 9, 3, MOMENTUM))
    np.testing.assert_allclose(found, size * log(0.9), rtol=IDENTITY)


def test_momentum_pairs_singular_values() -> None:
    """Units in which J is conformally symplectic: parameters beside learning rate × buffer."""
    found, size = jacobians(iris(0.3, 9, 3, partial(optim.SGD, lr=0.3, momentum=0.9)), 4)
    product = torch.eye(2 * size, dtype=torch.float64)
    for step, j in enumerate(found, start=1):
        units = torch.cat([torch.ones(size), torch.full((size,), 0.3)]).double()
        product = (units[:, None] * j / units) @ product
        sums = torch.linalg.svdvals(product).log()
        pairs = (sums + sums.flip(0)) / 2 - step * log(0.9) / 2
        assert float(pairs.abs().max()) < IDENTITY * 10 ** (step > 1)


@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_adam_shrinks_volume_by_its_rates(clip: float | None, decay: float) -> None:
    optimizer = partial(optim.AdamW, lr=0.02, betas=(0.8, 0.95), weight_decay=decay)
    found, size = volumes(replace(iris(0, 9, 3, optimizer), clip_norm=clip))
    expected = log(0.8) + log(0.95) + log(1 - 0.02 * decay)
    np.testing.assert_allclose(found, size * expected, rtol=IDENTITY)


def test_nesterov_adds_the_volume_of_plain_steps() -> None:
    options: dict[str, Any] = {"lr": 0.3, "momentum": 0.9, "nesterov": True}
    task = iris(0.3, 9, 3, partial(optim.SGD, **options))
    own = TangentStep(task, recorded=False)
    plain = TangentStep(iris(0.3, 9, 3), recorded=False)
    state, _ = own.plain(own.start(), 0)
    size = own.coordinates.layout.size
    found = torch.linalg.slogdet(own.jacobian(state, 1)).logabsdet
    bare = replace(state, slots={})
    expected = size * log(0.9) + float(torch.linalg.slogdet(plain.jacobian(bare, 1)).logabsdet)
    assert float(found) == pytest.approx(expected, rel=IDENTITY)


def test_adam_at_zero_moments_and_zero_gradients_is_finite() -> None:
    """Dead inputs have no gradient: their second moment is exactly 0, as is its root."""
    dead = cases.POINTS.clone()
    dead[:, 2:] = 0.0
    task = cases.task("mlp", "adam", model=partial(cases.dense, nn.ReLU), data=(dead, cases.CURVE))
    own = TangentStep(replace(task, clip_norm=1.0), recorded=False)
    state, v = own.start(), torch.eye(own.coordinates.size, dtype=torch.float64)[:60]
    for index in range(2):
        state, v, _ = own(state, v, index)
        assert torch.isfinite(v).all()
    weight = own.coordinates.layout.slices["0.weight"].start + 2  # of the first dead input
    assert float(v[weight, weight] / v[weight].norm()) == 1.0  # stays and touches nothing


def test_clipping_of_a_gradient_that_is_all_zero_is_finite() -> None:
    task = cases.task("mlp", "sgd", loss=lambda m, b: (m(b[0]) ** 2).mean() * 0.0, clip_norm=1.0)
    own = TangentStep(task, recorded=False)
    unit = torch.eye(own.coordinates.size, dtype=torch.float64)
    assert torch.equal(own.jacobian(own.start(), 0), unit)


def sum_rule(task: Task, beta: float, **options: Any) -> None:
    parameters = TangentStep(task, recorded=False).coordinates.layout.size
    found = training_spectrum(task, 2 * parameters, neutral_checks=0, check=False, **options)
    assert found.dimension == 2 * parameters
    assert float(found.exponents.sum()) == pytest.approx(parameters * log(beta), rel=1e-9)
    assert found.kaplan_yorke.reason == ""


def test_heavy_ball_sum_rule_on_iris() -> None:
    sum_rule(iris(0.1, 30, 3, partial(optim.SGD, lr=0.1, momentum=0.7)), 0.7, warmup=2)


@pytest.mark.long
def test_heavy_ball_sum_rule_on_digits() -> None:
    sum_rule(digits_net(partial(optim.SGD, lr=0.2, momentum=0.9), 400), 0.9, warmup=50, every=2)
