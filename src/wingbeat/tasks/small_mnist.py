"""MNIST at 16x16, its ten digits or one half of them, for dense nets, CNNs and transformers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from math import cos, pi
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import nn

from wingbeat.errors import RequestError, nearest, require
from wingbeat.task.task import Task
from wingbeat.tasks.cnn import image_cnn
from wingbeat.tasks.data.sklearn import Labelled, evenly_spaced
from wingbeat.tasks.data.sources import images
from wingbeat.tasks.dense import cross_entropy, mlp, shift_by_a_pixel
from wingbeat.tasks.models.vit import ViT

SIDE: Final = 16
"""Pixels: means over 2x2 of the 28x28 ones, and a margin of one."""
PATCH: Final = 8
"""Side of a transformer's patch: four tokens. With sixteen it learns five times as slowly."""
EVAL_BATCH: Final = 250
"""Images of an evaluation batch: activations of twenty copies then still fit a cache."""
CLASSES: Final[dict[str, tuple[int, ...]]] = {
    "all": tuple(range(10)),
    "first": tuple(range(5)),
    "second": tuple(range(5, 10)),
}
"""Digits by name: all, and the halves between which a net is transferred."""
FAMILIES: Final = ("dense", "cnn", "transformer")
OPTIMIZERS: Final[dict[str, Callable[..., torch.optim.Optimizer]]] = {
    "sgd": partial(torch.optim.SGD, momentum=0.9),
    "adam": torch.optim.Adam,
}


def small_net(family: str, shape: Sequence[int], classes: int = 10) -> nn.Module:
    """Build a net of one family for images ``(batch, 1, 16, 16)``.

    Args:
        family: "dense", "cnn" or "transformer".
        shape: hidden widths; channels of each stage; width and number of blocks.
        classes: scores.

    Raises:
        RequestError: an unknown family, or a shape that does not fit it.

    Example:
        >>> shapes = {"dense": (32,), "cnn": (8, 16), "transformer": (32, 1)}
        >>> [sum(p.numel() for p in small_net(f, s).parameters()) for f, s in shapes.items()]
        [8554, 3818, 15306]
    """
    if family not in FAMILIES:
        raise RequestError(f"family is {family!r}: {nearest(family, FAMILIES)}")
    if family == "dense":
        return mlp((SIDE**2, *shape, classes))
    if family == "cnn":
        return image_cnn(shape, SIDE, classes=classes)
    if len(shape) != 2:
        raise RequestError(f"shape is {tuple(shape)!r}: give a transformer width and blocks")
    return ViT(shape[0], shape[1], PATCH, heads=2, classes=classes, channels=1, side=SIDE)


def small_mnist_task(
    family: str = "cnn",
    shape: Sequence[int] = (8, 16),
    lr: float = 3e-3,
    steps: int = 400,
    *,
    digits: str = "all",
    optimizer: str = "adam",
    batch_size: int = 64,
    samples: int | None = None,
    shifts: bool = False,
    decay: bool = False,
    seed: int = 0,
) -> Task:
    """Classify MNIST's digits at 16x16 pixels; labels count from 0 also in the second half.

    Args:
        family: as in ``small_net``.
        shape: as in ``small_net``.
        lr: learning rate.
        steps: updates.
        digits: "all", or a half of them: "first" (0 to 4), "second" (5 to 9).
        optimizer: "sgd" (momentum 0.9) or "adam".
        batch_size: images a step.
        samples: how many training images, evenly spaced; None takes all.
        shifts: move each training image by −1, 0 or 1 pixel in each direction.
        decay: let the rate fall to 0 along half a cosine; else it stays.
        seed: of initial weights, batch order and shifts.

    Raises:
        RequestError: an unknown name, or a value out of range.

    Source:
        Halves of the classes as two tasks: Yosinski et al., arXiv 1411.1792.

    Example:
        >>> task = small_mnist_task("dense", (8,), digits="second", samples=100)
        >>> task.data[0].shape, task.data[1].unique().tolist()
        (torch.Size([100, 1, 16, 16]), [0, 1, 2, 3, 4])
    """
    for name, value, known in (("optimizer", optimizer, OPTIMIZERS), ("digits", digits, CLASSES)):
        if value not in known:
            raise RequestError(f"{name} is {value!r}: {nearest(value, list(known))}")
    require(steps >= 1, "steps", steps, "use a whole number above 0")
    label, train, test = _half(digits)
    classes = len(CLASSES[digits])
    small_net(family, shape, classes)  # so that a wrong shape is refused now
    return Task(
        model=partial(small_net, family, tuple(shape), classes),
        loss=cross_entropy,
        data=evenly_spaced(train, samples),
        optimizer=partial(_built, OPTIMIZERS[optimizer], lr),
        batch_size=batch_size,
        steps=steps,
        seed=seed,
        schedule=partial(half_cosine, steps) if decay else None,
        eval_data=test,
        eval_batch_size=EVAL_BATCH,
        augment=shift_by_a_pixel if shifts else None,
        name=f"{label} at 16x16, {digits} digits, {family}",
    )


def half_cosine(steps: int, step: int) -> float:
    """Return the factor of the learning rate: from 1 at first to nearly 0 at the last update.

    >>> [round(half_cosine(4, step), 3) for step in range(4)]
    [1.0, 0.854, 0.5, 0.146]
    """
    return 0.5 * (1.0 + cos(pi * step / steps))


def _built(
    kind: Callable[..., torch.optim.Optimizer], lr: float, params: Iterable[nn.Parameter]
) -> torch.optim.Optimizer:
    return kind(params, lr=lr)


@lru_cache(maxsize=3)
def _half(digits: str) -> tuple[str, Labelled, Labelled]:
    """Return the name of the data, and both splits of some digits; cached: a study asks often."""
    found = images()
    return found.source.label, _small(found.train, digits), _small(found.test, digits)


def _small(data: Labelled, digits: str) -> Labelled:
    """Return the images of some digits, shrunk, with labels from 0."""
    pixels, labels = data
    wanted: Any = CLASSES[digits]
    kept = (labels >= wanted[0]) & (labels <= wanted[-1])
    shrunk = F.pad(F.avg_pool2d(pixels[kept], 2), (1, 1, 1, 1))
    return shrunk, labels[kept] - wanted[0]
