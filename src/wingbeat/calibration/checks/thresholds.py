"""Stability thresholds: by formula, and by the curvature at which a quadratic starts to grow."""

from __future__ import annotations

from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn, optim

from wingbeat.calibration.check import ClosedForm, Placement, check
from wingbeat.curvature import threshold
from wingbeat.task.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RATE: Final = 0.1
_STEPS: Final = 400
_HALVINGS: Final = 24
_NEAR: Final = 5e-3
"""Within so much of the threshold 400 steps do not tell growth from decay."""


@check(
    "thresholds",
    "largest stable curvature of an optimizer, against quadratics that it is run on",
    "Cohen et al., ICLR 2021, section 2 and appendix B",
)
def thresholds(place: Placement) -> Iterator[ClosedForm]:
    """Compare the formula with the curvature from which torch's own optimizer runs away."""
    rules: dict[str, Callable[..., Any]] = {
        "gradient descent, 2/rate": partial(optim.SGD, lr=RATE),
        "heavy ball, (2 + 2β)/rate": partial(optim.SGD, lr=RATE, momentum=0.9),
        "Nesterov, (2 + 2β)/(rate (1 + 2β))": partial(
            optim.SGD, lr=RATE, momentum=0.9, nesterov=True
        ),
    }
    for name, rule in rules.items():
        expected = threshold(_task(rule)).value
        found = _runs_away(rule, place, 2.0 * expected)
        why = f"{_STEPS} steps of torch's optimizer"
        yield ClosedForm(name, expected, found, _NEAR * expected, why)


def _task(rule: Callable[..., Any]) -> Task:
    return Task(
        model=lambda: nn.Linear(1, 1, bias=False),
        loss=lambda model, batch: (model(batch[0]) ** 2).mean(),
        data=(torch.ones(4, 1),),
        optimizer=rule,
        batch_size=4,
        steps=1,
    )


def _runs_away(rule: Callable[..., Any], place: Placement, high: float) -> float:
    """Return the least curvature at which x on ½ h x² grows, by bisection."""
    low = 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if _last(rule, place, middle) > 1.0 else (middle, high)
    return (low + high) / 2


def _last(rule: Callable[..., Any], place: Placement, curvature: float) -> float:
    x = place.tensor(1.0).requires_grad_()
    optimizer, least = rule([x]), 1e-12
    for _ in range(_STEPS):
        x.grad = curvature * x.detach()
        optimizer.step()
    last = float(x.detach().abs())
    return inf if not last < inf else last + least
