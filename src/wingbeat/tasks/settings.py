"""A small image task whose every setting is an argument: shape, norm, optimizer and schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Final

import torch
import torch.nn.functional as F
from torch import nn

from wingbeat.errors import RequestError, nearest, require
from wingbeat.task.barrier_sampling import BarrierSampling
from wingbeat.task.task import Task
from wingbeat.tasks.data.sklearn import Labelled, evenly_spaced
from wingbeat.tasks.data.sources import images
from wingbeat.tasks.dense import cross_entropy

NORMS: Final[dict[str, Callable[[int], list[nn.Module]]]] = {
    "none": lambda _: [],
    "layer": lambda width: [nn.LayerNorm(width)],
    "batch": lambda width: [nn.BatchNorm1d(width)],
}
"""Layers before each activation, by name."""
OPTIMIZERS: Final[dict[str, Callable[..., torch.optim.Optimizer]]] = {
    "sgd": partial(torch.optim.SGD, momentum=0.9),
    "adamw": torch.optim.AdamW,
}
"""By name: "sgd" has momentum 0.9."""
DECAYS: Final[dict[str, Callable[[float], float]]] = {
    "none": lambda _: 1.0,
    "linear": lambda done: 1.0 - done,
    "cosine": lambda done: 0.5 + 0.5 * math.cos(math.pi * done),
}
"""Factor of the learning rate by the share of training after the warm-up that is done."""


@dataclass(frozen=True)
class WarmupAndDecay:
    """A learning-rate factor that rises linearly to 1 and falls as a decay of ``DECAYS`` says.

    Args:
        steps: of the whole run.
        warmup: share of them in which it rises, from 0 to below 1.
        decay: "none", "linear" or "cosine".

    Example:
        >>> factor = WarmupAndDecay(100, 0.1, "linear")
        >>> [round(factor(t), 3) for t in (0, 9, 10, 55)]
        [0.1, 1.0, 1.0, 0.5]
    """

    steps: int
    warmup: float
    decay: str

    def __call__(self, step: int) -> float:
        """Return the factor of one update, above 0 at all of them."""
        rise = round(self.warmup * self.steps)
        if step < rise:
            return (step + 1) / rise
        return DECAYS[self.decay]((step - rise) / max(1, self.steps - rise))


def settings_net(
    inputs: int, width: int, depth: int, norm: str = "none", gain: float = 1.0
) -> nn.Module:
    """Build a dense ReLU net with ten scores whose initial weights are multiplied by a gain.

    Args:
        inputs: pixels.
        width: of each hidden layer.
        depth: hidden layers; 0 is a linear model, whose loss is convex in its weights.
        norm: "none", "layer" or "batch", before each activation.
        gain: factor of torch's own initial weights of linear layers. Large gains make a net
            *lazy*: it learns with weights that hardly move.

    Source:
        Chizat, Oyallon and Bach, "On lazy training in differentiable programming" (2019), for
        what a gain does.

    Example:
        >>> sum(p.numel() for p in settings_net(196, 64, 2).parameters())
        17418
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in pairwise((inputs, *[width] * depth)):
        layers += [nn.Linear(fan_in, fan_out), *NORMS[norm](fan_out), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Linear(width if depth else inputs, 10))
    with torch.no_grad():
        for layer in net:
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(gain)
    return net


def settings_task(
    width: int = 64,
    depth: int = 2,
    *,
    norm: str = "none",
    gain: float = 1.0,
    optimizer: str = "adamw",
    lr: float = 1e-3,
    warmup: float = 0.0,
    decay: str = "none",
    weight_decay: float = 0.0,
    batch_size: int = 64,
    epochs: int = 5,
    samples: int | None = None,
    side: int = 14,
    seed: int = 0,
) -> Task:
    """Classify MNIST with a dense net; nothing but the batch order is random.

    Args:
        width: as in ``settings_net``.
        depth: as in ``settings_net``.
        norm: as in ``settings_net``.
        gain: as in ``settings_net``.
        optimizer: "sgd" (momentum 0.9) or "adamw".
        lr: learning rate at its top.
        warmup: share of training in which it rises.
        decay: "none", "linear" or "cosine", over the rest of it.
        weight_decay: of the optimizer: of SGD a penalty, of AdamW decoupled.
        batch_size: images a step; an incomplete last batch is left out.
        epochs: passes over the training images.
        samples: how many training images, evenly spaced; None takes all.
        side: of the images in pixels, 28, 14 or 7: means over squares of the 28x28 ones.
        seed: of initial weights and batch order.

    Raises:
        RequestError: an unknown name, or a value out of range.

    Example:
        >>> task = settings_task(16, samples=256, epochs=2, lr=0.1, optimizer="sgd")
        >>> task.steps, tuple(task.data[0].shape)
        (8, (256, 1, 14, 14))
    """
    for name, value, known in (
        ("norm", norm, tuple(NORMS)),
        ("optimizer", optimizer, tuple(OPTIMIZERS)),
        ("decay", decay, tuple(DECAYS)),
    ):
        if value not in known:
            raise RequestError(f"{name} is {value!r}: {nearest(value, known)}")
    require(side in (28, 14, 7), "side", side, "use 28, 14 or 7 pixels")
    require(0 <= warmup < 1, "warmup", warmup, "use a share from 0 to below 1")
    require(min(width, epochs) >= 1 and depth >= 0, "width, depth, epochs",
            (width, depth, epochs), "use whole numbers of at least 1, and 0 of depth")  # fmt: skip
    require(gain > 0, "gain", gain, "use a positive factor")
    found = images()
    train = _averaged(evenly_spaced(found.train, samples), side)
    steps = epochs * (len(train[0]) // batch_size)
    return Task(
        model=partial(settings_net, side * side, width, depth, norm, gain),
        loss=cross_entropy,
        data=train,
        optimizer=partial(_built, optimizer, lr, weight_decay),
        batch_size=batch_size,
        steps=steps,
        seed=seed,
        schedule=WarmupAndDecay(steps, warmup, decay),
        eval_data=_averaged(found.test, side),
        drop_last=True,
        barriers=BarrierSampling(1000, points=13, between=False, along=False),
        name=f"{found.source.label}, {side}x{side}, dense net",
    )


def _built(
    name: str, lr: float, weight_decay: float, parameters: Iterable[nn.Parameter]
) -> torch.optim.Optimizer:
    return OPTIMIZERS[name](parameters, lr=lr, weight_decay=weight_decay)


def _averaged(images_and_labels: Labelled, side: int) -> Labelled:
    pixels, labels = images_and_labels
    factor = pixels.shape[-1] // side
    return (F.avg_pool2d(pixels, factor) if factor > 1 else pixels), labels
