"""Training tasks whose exponents are tested: real data, normalisations, closed forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import cases
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_iris
from torch import Tensor, nn, optim

from wingbeat.task.task import Task
from wingbeat.tasks.data.sklearn import digits


def iris(lr: float, steps: int, hidden: int = 10, optimizer: Any = None) -> Task:
    """4-10-3, sigmoid, cross-entropy, full batch of 120 (Danovski et al., arXiv 2404.05782)."""
    x, y = load_iris(return_X_y=True)
    rows = np.random.RandomState(0).permutation(150)[:120]

    def build() -> nn.Module:
        model = nn.Sequential(nn.Linear(4, hidden), nn.Sigmoid(), nn.Linear(hidden, 3))
        for layer in (model[0], model[2]):
            nn.init.normal_(layer.weight)
            nn.init.zeros_(layer.bias)
        return model

    return Task(
        model=build,
        loss=cases.entropy,
        data=(torch.tensor(x[rows]), torch.tensor(y[rows])),
        optimizer=optimizer or partial(optim.SGD, lr=lr),
        batch_size=120,
        steps=steps,
        sampling="sequential",
    )


def digits_net(optimizer: Any, steps: int, hidden: int = 4, samples: int = 200) -> Task:
    """8x8 digits averaged to 4x4, tanh, batches of 50."""
    (images, labels), _ = digits()
    small = F.avg_pool2d(images[:samples], 2).flatten(1)
    return Task(
        model=lambda: nn.Sequential(nn.Linear(16, hidden), nn.Tanh(), nn.Linear(hidden, 10)),
        loss=cases.entropy,
        data=(small, labels[:samples]),
        optimizer=optimizer,
        batch_size=50,
        steps=steps,
    )


def quadratic(curvatures: tuple[float, ...], lr: float, steps: int, **options: Any) -> Task:
    """Gradient descent on ½ Σ h w² about w = 0: every exponent is known."""
    h = torch.tensor(curvatures, dtype=torch.float64)

    def loss(model: nn.Module, batch: Any) -> Tensor:
        return 0.5 * (model.weight[0] ** 2 * batch[0][0]).sum()

    return Task(
        model=lambda: nn.Linear(len(curvatures), 1, bias=False),
        loss=loss,
        data=(h[None],),
        optimizer=partial(optim.SGD, lr=lr, **options),
        batch_size=1,
        steps=steps,
    )


class Normalised(nn.Module):
    """Images through a convolution, a normalisation and a smooth activation."""

    def __init__(self, norm: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, stride=2, bias=False), norm()
        self.head = nn.Linear(36, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(F.silu(self.norm(self.conv(x))).flatten(1))
        return out


NORMS: dict[str, Callable[[], nn.Module]] = {
    "batch": lambda: nn.BatchNorm2d(4, momentum=0.3),
    "layer": lambda: nn.LayerNorm((4, 3, 3)),
    "instance": lambda: nn.InstanceNorm2d(4, affine=True),
    "instance-tracking": lambda: nn.InstanceNorm2d(4, track_running_stats=True),
    "group": lambda: nn.GroupNorm(2, 4),
}


def normalised(norm: str, optimizer: Any = None) -> Task:
    """Return an image task whose net has one normalisation."""
    return cases.task("cnn", optimizer or "adam", model=partial(Normalised, NORMS[norm]))


LOSSES: dict[str, Callable[..., Tensor]] = {
    "mse": F.mse_loss,
    "huber": partial(F.huber_loss, delta=0.3),
    "smooth_l1": partial(F.smooth_l1_loss, beta=0.3),
    "l1": F.l1_loss,
    "bce": lambda x, y: F.binary_cross_entropy_with_logits(x, torch.sigmoid(y)),
    "poisson": F.poisson_nll_loss,
    "soft-margin": lambda x, y: F.soft_margin_loss(x, y.sign()),
    "kl": lambda x, y: F.kl_div(x, torch.sigmoid(y), reduction="batchmean"),
}


def with_loss(name: str) -> Task:
    """Return a regression task with a loss of torch's."""
    function = LOSSES[name]
    return replace(
        cases.PROBLEMS["mlp"], loss=lambda model, batch: function(model(batch[0]), batch[1])
    )
