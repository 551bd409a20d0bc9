"""What cannot be trained right is refused by name before any compute, with what to write."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from plain_setup import CURVE, POINTS, dense, momentum, recipe
from torch import nn, optim

import wingbeat as wb


def with_scheduler(params: Any) -> Any:
    optimizer = momentum(params)
    return optimizer, optim.lr_scheduler.StepLR(optimizer, 5)


def scheduler_object() -> Any:
    return optim.lr_scheduler.StepLR(momentum(list(dense().parameters())), 5)


def half(params: Any) -> Any:
    return momentum(list(params)[:2])


def with_criterion() -> dict[str, Any]:
    weights = nn.Linear(1, 1)
    return recipe(
        loss=lambda model, batch: (weights(model(batch[0])) - batch[1]).square().mean(),
        optimizer=lambda params: optim.SGD([*params, *weights.parameters()], lr=0.1),
    )


class Around:
    """Two optimizers in one object that has no groups of its own."""

    def __init__(self, params: Any) -> None:
        self.several = [momentum(params), momentum([nn.Parameter(torch.ones(2, 3))])]

    def step(self) -> None:
        for one in self.several:
            one.step()


def backward_itself(model: nn.Module, batch: Any) -> torch.Tensor:
    loss = (model(batch[0]) - batch[1]).square().mean()
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


class Shaped(nn.Linear):
    """Learns the shape of a buffer from its first batch, as observers of quantization do."""

    def __init__(self) -> None:
        super().__init__(4, 1)
        self.register_buffer("seen", torch.zeros(0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = x.detach().abs().amax(0)
        return super().forward(x)


class Thawing(nn.Linear):
    """Decides in its forward pass what trains."""

    def __init__(self) -> None:
        super().__init__(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.bias.requires_grad_(False)
        return super().forward(x)


REFUSED: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "a module where a factory is wanted": (lambda: recipe(model=dense()), r"model.*lambda"),
    "nn.CrossEntropyLoss()": (
        lambda: recipe(loss=nn.CrossEntropyLoss()),
        r"loss.*lambda model, batch",
    ),
    "a loss class": (lambda: recipe(loss=nn.MSELoss), r"loss"),
    "an optimizer object": (
        lambda: recipe(optimizer=momentum(list(dense().parameters()))),
        r"optimizer.*lambda params",
    ),
    "optimizer and scheduler": (lambda: recipe(optimizer=with_scheduler), r"schedule"),
    "a scheduler object": (lambda: recipe(schedule=scheduler_object()), r"schedule.*lambda"),
    "a list of tensors": (lambda: recipe(data=[POINTS, CURVE]), r"data.*tuple|data.*\("),
    "a list of two equal tensors": (lambda: recipe(data=[POINTS, POINTS]), r"data"),
    "nothing": (lambda: recipe(optimizer=lambda params: None), r"optimizer.*None"),
    "a list of optimizers": (
        lambda: recipe(optimizer=lambda params: [momentum(params)]),
        r"optimizer.*list",
    ),
    "parameters left out": (lambda: recipe(optimizer=half), r"leaves out"),
    "a loss that is not a scalar": (
        lambda: recipe(loss=lambda m, b: (m(b[0]) - b[1]).square()),
        r"scalar",
    ),
    "a criterion with weights": (with_criterion, r"not the model's.*\(1, 1\).*ModuleDict"),
    "optimizers around": (lambda: recipe(optimizer=Around), r"not the model's.*\(2, 3\)"),
    "TorchScript": (
        lambda: recipe(model=lambda: torch.jit.trace(dense(), POINTS[:1])),
        r"TorchScript.*was scripted or traced",
    ),
    "a loss that calls backward": (lambda: recipe(loss=backward_itself), r"no gradient.*backward"),
    "a loss and its logs": (
        lambda: recipe(loss=lambda m, b: ((m(b[0]) - b[1]).square().mean(), {})),
        r"tuple.*training_step\(model, batch\)\[0\]",
    ),
    "a buffer without a shape": (lambda: recipe(model=Shaped), r"'seen' from \(0,\) to \(4,\)"),
    "a model that freezes itself": (lambda: recipe(model=Thawing), r"'bias' requires.*wb.Twins"),
    "a scheduler of a measure": (
        lambda: recipe(schedule=optim.lr_scheduler.ReduceLROnPlateau),
        r"ReduceLROnPlateau.*wb.Twins",
    ),
    "mode misspelt": (lambda: recipe(mode="evaluate"), r"mode"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_by_name(name: str) -> None:
    make, words = REFUSED[name]
    with pytest.raises(wb.RequestError, match=words) as found:
        wb.run(wb.Task(**make()), wb.Gaussian(0.01), progress=False)
    assert "Traceback" not in str(found.value)


def test_self_seeding_is_said_before_init_varies_nothing() -> None:
    """Init() and seeds= draw other weights, unless the factory seeds itself."""

    def seeded() -> nn.Module:
        torch.manual_seed(42)
        return dense()

    task = wb.Task(**recipe(model=seeded))
    for options in ({"perturbations": wb.Init()}, {"seeds": [0, 1]}):
        options.setdefault("perturbations", wb.Gaussian(0.01))
        try:
            said = " ".join(wb.run(task, progress=False, driver="loop", **options).warnings)
        except wb.RequestError as error:
            said = str(error)
        assert "seed" in said, options


def test_a_schedule_that_returns_rates_is_named() -> None:
    """``schedule`` gives factors of the rate; values like the rate itself are not factors."""
    task = wb.Task(**recipe(schedule=lambda step: 0.02 * 0.9**step))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            said = " ".join(wb.run(task, progress=False, driver="loop").warnings)
        except wb.RequestError as error:
            said = str(error)
    assert "factor" in " ".join([said, *(str(w.message) for w in heard)])
