"""Hooks, masks and parametrizations train as in a loop by hand, or are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cases
import pytest
import torch
from driving import CPU
from test_handed_over import ROUNDING, by_hand, holds
from torch import Tensor, nn, optim
from torch.nn.utils import parametrizations, prune

import wingbeat as wb
from wingbeat.task.step import TrainingStep

SGD = partial(optim.SGD, lr=0.02)


def hooked(model: Any) -> None:
    model[0].weight.register_hook(lambda gradient: gradient * 0.5)


def accumulated(model: Any) -> None:
    def halve(p: Tensor) -> None:
        p.grad = p.grad * 0.5

    model[0].weight.register_post_accumulate_grad_hook(halve)


def speaks_of_itself(model: Any) -> None:
    """A hook that closes over another layer of the very model: a copy would ask the first one."""
    other = model[5]
    model[0].register_forward_hook(lambda module, given, out: out * other.weight.mean())


CHANGES: dict[str, Callable[[Any], Any]] = {
    "parameter hook": hooked,
    "accumulate hook": accumulated,
    "backward hook": lambda m: m[3].register_full_backward_hook(lambda *a: (a[1][0] * 0.5,)),
    "hook on itself": speaks_of_itself,
    "pruned": lambda m: prune.random_unstructured(m[0], "weight", 0.5),
    "old weight norm": lambda m: nn.utils.weight_norm(m[0]),
    "new weight norm": lambda m: parametrizations.weight_norm(m[0]),
    "old spectral norm": lambda m: nn.utils.spectral_norm(m[0]),
    "new spectral norm": lambda m: parametrizations.spectral_norm(m[0]),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("driver", ["loop", "object"])
def test_it_trains_as_by_hand(name: str, driver: str) -> None:
    def build() -> nn.Module:
        torch.manual_seed(1)
        model = cases.dense()
        CHANGES[name](model)
        return model

    task = cases.task("mlp", SGD, model=build, steps=8)
    expected, _, _ = by_hand(task, SGD)
    needs_object = TrainingStep(task, torch.float64, CPU).optimizer is None
    holds(task, expected, "object" if needs_object else driver, ROUNDING)


def test_one_model_with_a_hook_handed_out_again_is_refused() -> None:
    model = cases.dense()
    hooked(model)
    with pytest.raises(wb.RequestError, match=r"gradient hook on the parameter '0.weight'"):
        TrainingStep(cases.task("mlp", SGD, model=lambda: model), torch.float32, CPU)


def test_complex_parameters_are_refused_by_name() -> None:
    class Complex(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wave = nn.Parameter(torch.ones(4, 1, dtype=torch.complex64))

    with pytest.raises(wb.RequestError, match=r"'wave'.*view_as_complex"):
        TrainingStep(cases.task("mlp", SGD, model=Complex), torch.float32, CPU)


def test_a_complex_buffer_keeps_its_imaginary_part() -> None:
    class Rotary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.leave = nn.Linear(4, 1)
            self.register_buffer("turn", torch.polar(torch.ones(4), torch.arange(4.0)))

    step = TrainingStep(cases.task("mlp", SGD, model=Rotary), torch.float64, CPU)
    turn = step.start(0).buffers["turn"]
    assert turn.dtype == torch.complex128
    assert float(turn.imag.abs().max()) > 0.5
