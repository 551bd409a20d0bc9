"""Small tasks with a known or checkable curvature."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wingbeat.task.task import Task
from wingbeat.tasks.data.sklearn import digits
from wingbeat.tasks.dense import mlp


class Weights(nn.Module):
    """Nothing but weights."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(start.clone())


def quadratic(matrix: Tensor, lr: float = 0.1, steps: int = 50, **optimizer: Any) -> Task:
    """½ wᵀAw, the same for every sample."""

    def loss(model: nn.Module, batch: Any) -> Tensor:
        w = model.w
        found: Tensor = 0.5 * (w @ (matrix.to(w) @ w)) * batch[0].mean()
        return found

    return Task(
        model=partial(Weights, torch.linspace(1, 2, len(matrix))),
        loss=loss,
        data=(torch.ones(2),),
        optimizer=partial(torch.optim.SGD, lr=lr, **optimizer),
        batch_size=2,
        steps=steps,
    )


def half_squares(model: nn.Module, batch: Any) -> Tensor:
    """½‖f − onehot‖² summed over outputs, mean over samples."""
    inputs, labels = batch
    return 0.5 * ((model(inputs) - F.one_hot(labels, 10)) ** 2).sum(1).mean()


def digits_tanh(
    hidden: tuple[int, ...] = (20,), lr: float = 0.2, steps: int = 400, n: int = 200, **more: Any
) -> Task:
    """Full-batch gradient descent of a tanh net on centred digits with squared error."""
    (images, labels), _ = digits()
    flat = images[:n].flatten(1)
    flat = (flat - flat.mean(0)) / (8 * flat.std(0).mean())
    return Task(
        model=partial(mlp, (64, *hidden, 10), "tanh"),
        loss=half_squares,
        data=(flat, labels[:n]),
        optimizer=partial(more.pop("kind", torch.optim.SGD), lr=lr, **more.pop("options", {})),
        batch_size=n,
        steps=steps,
        **more,
    )


class Normalised(nn.Module):
    """Every normalisation that has tripped a derivative: layer, instance, group, batch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.instance = nn.InstanceNorm2d(4, affine=True)
        self.group = nn.GroupNorm(2, 4)
        self.batch = nn.BatchNorm2d(4)
        self.layer = nn.LayerNorm(6 * 6 * 4)
        self.head = nn.Linear(6 * 6 * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.instance(self.conv(x)))
        x = self.batch(torch.tanh(self.group(x))).flatten(1)
        out: Tensor = self.head(torch.tanh(self.layer(x)))
        return out


class OldTanh(torch.autograd.Function):
    """Written in the old style, which torch.func refuses; differentiable twice."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = torch.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return slope * (1 - y * y)


class OldStyle(nn.Module):
    """A net with a function that no transform of torch accepts."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(4, 5), nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(OldTanh.apply(self.layer(x)))
        return out


class Reading(nn.Module):
    """Reads a number out of its tensors, which cannot be mapped over replicas."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(4, 5), nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = 1.0 if self.layer.weight.detach().sum().item() > -1e9 else 2.0
        out: Tensor = self.head(torch.tanh(self.layer(x) * scale))
        return out
