"""A task with the arguments that the spawn-and-perturb study may pass: budget, intervention."""

from __future__ import annotations

from functools import partial

import torch

import wingbeat as wb
from wingbeat.tasks.dense import cross_entropy, mlp


def small(budget: float = 0.5, intervention: str = "standard", lr: float = 0.1) -> wb.Task:
    """Tell apart two clouds of points; without evaluation data."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 2
    points = torch.randn(64, 4, generator=generator) + labels[:, None]
    return wb.Task(
        model=partial(mlp, (4, 6, 2)),
        loss=cross_entropy,
        data=(points, labels),
        optimizer=partial(torch.optim.SGD, lr=lr * (0.1 if intervention == "slow" else 1.0)),
        batch_size=16,
        steps=round(40 * budget),
        name="two clouds",
    )
