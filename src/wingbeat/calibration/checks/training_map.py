"""Volumes of the training map: momentum and Adam shrink them by their own rates."""

from __future__ import annotations

from functools import partial
from math import log
from typing import TYPE_CHECKING, Any

import torch
from torch import nn, optim

from wingbeat.calibration.check import ClosedForm, Placement, check
from wingbeat.lyapunov.training.tangent import TangentStep
from wingbeat.task.task import Task

if TYPE_CHECKING:
    from collections.abc import Iterator


@check(
    "training_map",
    "volume of the map of one update, by the optimizer's rates",
    "docs/definitions.md, exponents of training",
)
def training_map(place: Placement) -> Iterator[ClosedForm]:
    """Compare ln |det J| ÷ parameters with ln β, and ln β₁β₂ (1 - rate · decay) for AdamW."""
    rules: dict[str, tuple[Any, float]] = {
        "momentum, ln β": (partial(optim.SGD, lr=0.3, momentum=0.9), log(0.9)),
        "momentum with decay, ln β": (
            partial(optim.SGD, lr=0.3, momentum=0.8, weight_decay=1e-3),
            log(0.8),
        ),
        "Adam, ln β1 β2": (partial(optim.Adam, lr=0.02, betas=(0.8, 0.95)), log(0.76)),
        "AdamW, ln β1 β2 (1 - rate · decay)": (
            partial(optim.AdamW, lr=0.02, betas=(0.8, 0.95), weight_decay=0.2),
            log(0.76) + log(1 - 0.004),
        ),
    }
    for name, (rule, expected) in rules.items():
        found = _volume(small_task(rule), place)
        yield ClosedForm(f"{name}, a parameter", expected, found, 3e3 * place.rounding)


def _volume(task: Task, place: Placement) -> float:
    own = TangentStep(task, place.dtype, place.device, recorded=False)
    state, _ = own.plain(own.start(), 0)
    jacobian = own.jacobian(state, 1).double()
    return float(torch.linalg.slogdet(jacobian.cpu()).logabsdet) / own.coordinates.layout.size


def small_task(optimizer: Any, steps: int = 20) -> Task:
    """Return a smooth net of 21 parameters on 24 points, in batches of 12."""
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(24, 3, generator=drawn, dtype=torch.float64)
    y = (x[:, 0] * x[:, 1] > 0).long()
    return Task(
        model=lambda: nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2)),
        loss=lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
        data=(x, y),
        optimizer=optimizer,
        batch_size=12,
        steps=steps,
    )
