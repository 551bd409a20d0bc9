"""Barriers on lines whose curve is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn, optim

from wingbeat.calibration.check import ClosedForm, Placement, check
from wingbeat.landscape import Models, Probe, line
from wingbeat.metrics import alpha_grid, barrier
from wingbeat.task.step import TrainingStep
from wingbeat.task.task import Task

if TYPE_CHECKING:
    from collections.abc import Iterator


@check("barriers", "barriers of curves and of losses that are known", "docs/definitions.md")
def barriers(place: Placement) -> Iterator[ClosedForm]:
    """Compare a double well's barrier, a parabola's, and a sine's above its chord."""
    slack = 20 * place.rounding
    wells = [(-1.0, 1.0, 0.25), (-1.0, 0.0, _above_chord())]
    for left, right, expected in wells:
        found = _on_a_line(left, right, place)
        yield ClosedForm(f"double well from {left:g} to {right:g}", expected, found, slack)
    alphas = alpha_grid(101)
    curve = alphas + 0.5 * np.sin(np.pi * alphas)
    high = float(barrier(alphas, curve).value)
    yield ClosedForm("half a sine above a chord", 0.5, high, 20 * 2.3e-16)
    low = float(barrier(alphas, alphas**2).value)
    yield ClosedForm("a parabola below its chord has none", 0.0, low, 0.0)


def _above_chord() -> float:
    """Return the most that (w² − 1)² / 4 lies above its chord on the grid from −1 to 0."""
    alphas = alpha_grid()
    w = alphas - 1.0
    return float(np.max((w**2 - 1) ** 2 / 4 - alphas / 4))


def _on_a_line(left: float, right: float, place: Placement) -> float:
    task = Task(
        model=lambda: nn.Linear(1, 1, bias=False),
        loss=lambda model, batch: ((model(batch[0]) ** 2 - 1) ** 2 / 4).mean(),
        data=(torch.ones(3, 1),),
        optimizer=lambda params: optim.SGD(params, lr=0.1),
        batch_size=1,
        steps=1,
    )
    ends = place.tensor(left, right)[:, None]
    probe = Probe(TrainingStep(task, place.dtype, place.device))
    return line(probe, Models(("left", "right"), ends, {})).curve().estimates()[0].value
