"""Tasks whose onset is known: a bowl, and a double well that noise pushes over one wall."""

from __future__ import annotations

import functools
from dataclasses import replace

import torch
from torch import nn

import wingbeat as wb


def line():
    layer = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(layer.weight)
    return layer


def bowl_line():
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    return layer


def sgd(params, lr=0.2):
    return torch.optim.SGD(params, lr=lr)


def well_loss(model, batch):
    return ((model(batch[0]) ** 2 - 1) ** 2 / 4).mean()


def bowl_loss(model, batch):
    return (model(batch[0]) ** 2).mean() / 2


def well(steps=60, **changes):
    """w starts at 1e-3, beside the ridge between the wells at −1 and +1.

    The gradient w³ − w drives it off by a factor 1.2 a step at lr 0.2, so that it is at its well
    after some 50 steps: until then a nudge larger than w decides the sign.
    """
    task = wb.Task(
        model=functools.partial(started, 1e-3),
        loss=well_loss,
        data=(torch.ones(4, 1),),
        optimizer=sgd,
        batch_size=4,
        steps=steps,
    )
    return replace(task, **changes)


def started(weight):
    layer = line()
    nn.init.constant_(layer.weight, weight)
    return layer


def bowl(steps=40, **changes):
    """w shrinks by 0.8 a step from wherever it is: all replicas meet at 0."""
    return well(steps, **{"model": bowl_line, "loss": bowl_loss, **changes})


def path(weight, steps, lr=0.2):
    """Return the reference's weight after each number of updates, by NumPy's arithmetic."""
    out = [weight]
    for _ in range(steps):
        w = out[-1]
        out.append(w - lr * (w**3 - w))
    return out
