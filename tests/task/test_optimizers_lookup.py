"""Which optimizers have a pure form, and what is said of those that have none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import optim
from torch.optim.lr_scheduler import LambdaLR

from wingbeat.errors import DriverError, RequestError
from wingbeat.task.optimizers import Adagrad, Adam, NAdam, RAdam, RmsProp, Sgd, pure_optimizer


def parameter(size: int = 3, dtype: torch.dtype = torch.float32) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.ones(size, dtype=dtype))


def half_stepped(kind: Any, **options: Any) -> optim.Optimizer:
    """Return an optimizer of two parameters, of which one has taken a step."""
    first, second = parameter(), parameter()
    optimizer: optim.Optimizer = kind([first, second], **options)
    first.grad = torch.ones_like(first)
    optimizer.step()
    return optimizer


def hooked() -> optim.Optimizer:
    optimizer = optim.SGD([parameter()])
    optimizer.register_step_post_hook(lambda *_: None)
    return optimizer


def replaced() -> optim.Optimizer:
    optimizer = optim.SGD([parameter()])
    optimizer.step = lambda closure=None: None  # type: ignore[method-assign]
    return optimizer


def newer() -> optim.Optimizer:
    """An Adam of a later torch, with an option that did not exist."""
    optimizer = optim.Adam([parameter()])
    optimizer.defaults["cautious"] = False
    optimizer.param_groups[0]["cautious"] = True
    return optimizer


class Doubled(optim.SGD):
    def step(self, closure: Any = None) -> Any:
        super().step(closure)
        return super().step(closure)


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        (optim.Adadelta([parameter()]), "Adadelta"),
        (optim.LBFGS([parameter()]), "LBFGS"),
        (Doubled([parameter()]), "Doubled"),
        (optim.SGD([parameter()], differentiable=True), "SGD.*differentiable=True"),
        (optim.Adam([{"params": [parameter()], "betas": (0.9, 1.0)}]), "Adam.*beta=1.0"),
        (optim.NAdam([{"params": [parameter()], "betas": (1.5, 0.9)}]), "NAdam.*beta=1.5"),
        (optim.RAdam([{"params": [parameter()], "betas": (-0.1, 0.9)}]), "RAdam.*beta=-0.1"),
        (optim.RMSprop([parameter()], alpha=1.0), "RMSprop.*alpha=1.0"),
        (optim.Adam([parameter(dtype=torch.complex64)]), "Adam.*complex"),
        (half_stepped(optim.SGD, momentum=0.9), r"SGD.*different numbers of steps: \[0, 1\]"),
        (half_stepped(optim.AdamW), r"AdamW.*different numbers of steps: \[0, 1\]"),
        (half_stepped(optim.NAdam), r"NAdam.*different numbers of steps"),
        (hooked(), "SGD.*hooks"),
        (replaced(), "SGD.*step method"),
        (newer(), "Adam.*cautious=True"),
    ],
)
def test_refusals_name_class_and_option(optimizer: optim.Optimizer, said: str) -> None:
    with pytest.raises(DriverError, match=said):
        pure_optimizer(optimizer)


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda p: optim.SGD(p, lr=torch.tensor(0.5), nesterov=True, momentum=0.75),
         Sgd(lr=0.5, momentum=0.75, nesterov=True)),
        (lambda p: optim.Adam(p, lr=torch.tensor(0.5)), Adam(lr=0.5)),
        (lambda p: optim.Adam(p, foreach=True), Adam(lr=1e-3)),
        (lambda p: optim.Adam(p, fused=True), Adam(lr=1e-3)),
        (optim.AdamW, Adam(lr=1e-3, weight_decay=0.01, decoupled_weight_decay=True)),
        (lambda p: optim.RMSprop(p, capturable=True, centered=True), RmsProp(0.01, centered=True)),
        (lambda p: optim.Adagrad(p, lr_decay=0.1), Adagrad(lr=0.01, lr_decay=0.1)),
        (optim.NAdam, NAdam(lr=2e-3, single_schedule=True)),
        (lambda p: optim.RAdam(p, maximize=True), RAdam(lr=1e-3, maximize=True)),
    ],
)  # fmt: skip
def test_options_are_read(build: Callable[[Any], optim.Optimizer], expected: Any) -> None:
    rule = pure_optimizer(build([parameter()]))
    assert rule == expected
    assert hash(rule) == hash(expected)


def test_entries_that_torch_does_not_read_have_no_effect() -> None:
    optimizer = optim.SGD([{"params": [parameter()], "name": "head"}], lr=0.1)
    LambdaLR(optimizer, lambda _: 1.0)  # adds initial_lr and wraps the step to count
    assert pure_optimizer(optimizer) == Sgd(lr=0.1)


def test_old_adamw_without_the_option_is_decoupled() -> None:
    optimizer = optim.AdamW([parameter()])
    del optimizer.defaults["decoupled_weight_decay"]
    del optimizer.param_groups[0]["decoupled_weight_decay"]
    assert pure_optimizer(optimizer) == Adam(1e-3, weight_decay=0.01, decoupled_weight_decay=True)


def test_a_group_without_a_trainable_parameter_is_left_out() -> None:
    frozen = parameter().requires_grad_(False)
    groups = [{"params": [frozen]}, {"params": [parameter()], "lr": 0.5}]
    assert pure_optimizer(optim.SGD(groups)) == Sgd(lr=0.5)


@pytest.mark.parametrize(
    "places",
    [
        [slice(0, 3)],
        [slice(0, 3), slice(4, 6)],
        [slice(1, 3), slice(3, 6)],
        [slice(0, 3), slice(2, 6)],
        [slice(0, 0), slice(0, 0)],
    ],
)
def test_places_must_cover_the_vector(places: list[slice]) -> None:
    optimizer = optim.SGD([{"params": [parameter()]}, {"params": [parameter()], "lr": 1.0}])
    with pytest.raises(RequestError):
        pure_optimizer(optimizer, places)
