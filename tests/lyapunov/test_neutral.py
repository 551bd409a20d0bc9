"""Symmetries of training: found, neutral to rounding at every step, counted, taken out."""

from __future__ import annotations

from functools import partial
from typing import Any

import cases
import numpy as np
import pytest
import torch
from torch import nn, optim
from training_cases import Normalised, iris

from wingbeat.lyapunov.training.exponents import training_spectrum
from wingbeat.lyapunov.training.neutral import Neutral, NeutralWatch
from wingbeat.lyapunov.training.tangent import TangentStep
from wingbeat.task.task import Task


def families(task: Task, steps: int = 3, warmup: int = 1) -> dict[str, Neutral]:
    own = TangentStep(task, recorded=False)
    state, watch = own.start(), None
    for index in range(warmup + steps):
        if index == warmup:
            watch = NeutralWatch(own, state, index)
        elif watch is not None:
            watch.verify(state, index)
        state, _ = own.plain(state, index)
    assert watch is not None
    return {f"{n.kind} {n.where[0]}": n for n in watch.found()}


@pytest.mark.parametrize(
    "optimizer",
    [
        partial(optim.SGD, lr=1.0),
        partial(optim.SGD, lr=5.0),
        partial(optim.SGD, lr=0.2, momentum=0.9, nesterov=True),
        partial(optim.Adam, lr=0.01),
        partial(optim.RMSprop, lr=0.01),
    ],
)
def test_softmax_shift_is_neutral_at_every_step(optimizer: Any) -> None:
    found = families(iris(0, 9, optimizer=optimizer), 6)["shift 2.weight"]
    assert found.count == 11
    assert found.residual < 1e-12
    assert found.slope < 1e-12
    assert found.exact
    assert found.checks == 6


def test_single_shift_directions_come_back_unchanged() -> None:
    own = TangentStep(iris(1.0, 9), recorded=False)
    state, _ = own.plain(own.start(), 0)
    place = own.coordinates.layout.slices["2.weight"]
    v = torch.zeros(11, own.coordinates.size, dtype=torch.float64)
    for j in range(10):
        v[j, place].view(3, 10)[:, j] = 1.0
    v[10, own.coordinates.layout.slices["2.bias"]] = 1.0
    _, moved, _ = own(state, v, 1, raw=True)
    assert float((moved - v).norm(dim=1).max()) < 1e-12


def test_weight_decay_shrinks_the_shift() -> None:
    decay = partial(optim.AdamW, lr=0.01, weight_decay=0.5)
    found = families(iris(0, 9, optimizer=decay))["shift 2.weight"]
    assert not found.exact
    assert found.factor == pytest.approx(1 - 0.01 * 0.5, rel=1e-12)


def test_relu_rescaling_is_found_and_not_exact() -> None:
    task = cases.task("mlp", "sgd", model=partial(cases.dense, nn.ReLU))
    found = {n: f for n, f in families(task).items() if f.kind == "rescale"}
    assert {n: f.count for n, f in found.items()} == {"rescale 0.weight": 10, "rescale 3.weight": 7}
    for family in found.values():
        assert family.slope < 1e-12
        assert 1e-6 < family.residual < 0.1  # of the order of the learning rate
        assert not family.exact
    slower = partial(optim.SGD, lr=0.002)
    less = families(cases.task("mlp", slower, model=partial(cases.dense, nn.ReLU)))
    ratio = less["rescale 0.weight"].residual / found["rescale 0.weight"].residual
    assert ratio == pytest.approx(0.1, rel=0.1)  # the learning rates' ratio


def test_no_rescaling_without_a_homogeneous_activation() -> None:
    assert not [n for n in families(cases.task("mlp", "sgd")) if n.startswith("rescale")]


def test_scales_and_biases_before_batch_norm() -> None:
    def build() -> nn.Module:
        return nn.Sequential(
            nn.Linear(4, 5), nn.BatchNorm1d(5, eps=1e-14), nn.Tanh(), nn.Linear(5, 1)
        )

    found = families(cases.task("mlp", "sgd", model=build))
    assert found["idle 0.bias"].count == 5
    assert found["idle 0.bias"].exact
    assert found["scale 0.weight"].count == 5
    assert found["scale 0.weight"].slope < 1e-9
    assert not found["scale 0.weight"].exact


def test_convolution_before_layer_norm() -> None:
    norm = partial(Normalised, lambda: nn.LayerNorm((4, 3, 3), eps=0.0))
    found = families(cases.task("cnn", "sgd", model=norm))
    assert found["scale conv.weight"].count == 1
    assert found["shift head.weight"].exact


class Fused(nn.Module):
    """One attention layer whose queries, keys and values share a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.MultiheadAttention(4, 2, batch_first=True)
        nn.init.normal_(self.mix.in_proj_bias, std=0.3)
        self.head = nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = torch.stack([x, x.flip(1), x.cos()], dim=1)
        out: torch.Tensor = self.head(
            self.mix(tokens, tokens, tokens, need_weights=False)[0].mean(1)
        )
        return out


def test_the_keys_of_attention_need_no_bias() -> None:
    found = families(cases.task("mlp", "sgd", model=Fused))
    assert found["idle mix.in_proj_bias (keys)"].count == 4
    assert found["idle mix.in_proj_bias (keys)"].exact


def test_dead_inputs_are_idle() -> None:
    dead = cases.POINTS.clone()
    dead[:, 3] = 0.0
    found = families(cases.task("mlp", "adam", data=(dead, cases.CURVE)))
    assert found["idle 0.weight"].count == 10
    assert found["idle 0.weight"].exact


@pytest.mark.slow
def test_taken_out_they_leave_the_other_exponents() -> None:
    task = iris(1.0, 60, 3)
    whole = training_spectrum(task, 27, warmup=1, check=False)
    rest = training_spectrum(task, 23, warmup=1, deflate=True, check=False)
    assert whole.neutral_count == rest.removed == 4
    assert rest.dimension == 27
    # one exponent of the quotient for each of the whole, less four zeros
    assert rest.exponents.sum() == pytest.approx(whole.exponents.sum(), rel=1e-6, abs=0.05)
    own = TangentStep(task, recorded=False)
    watch = NeutralWatch(own, own.start(), 0)
    v = torch.randn(5, 27, generator=torch.Generator().manual_seed(0)).double()
    once = watch.project(v)
    torch.testing.assert_close(watch.project(once), once)
    assert torch.linalg.matrix_rank(watch.project(torch.eye(27).double())) == 23


def test_nothing_is_taken_out_where_nothing_is_neutral() -> None:
    task = cases.task("mlp", "sgd", steps=14)
    found = training_spectrum(task, 2, deflate=True, check=False)
    assert found.removed == 0
    assert np.isfinite(found.exponents).all()
