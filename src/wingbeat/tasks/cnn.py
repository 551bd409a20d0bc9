"""Small convolutional nets: for 8x8 digits, and for photographs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from wingbeat.errors import RequestError
from wingbeat.task.task import Task
from wingbeat.tasks.data.cifar10 import photos
from wingbeat.tasks.data.sklearn import Labelled, digits, evenly_spaced
from wingbeat.tasks.dense import cross_entropy, for_epochs


def digits_cnn(channels: Sequence[int] = (8, 16)) -> nn.Module:
    """Build a convolutional net for images ``(batch, 1, 8, 8)`` with scores ``(batch, 10)``.

    Each stage is a 3x3 convolution with padding 1, a ReLU and a 2x2 max-pool; one dense
    layer reads the flattened rest. Channels (8, 16) leave 16 maps of 2x2, so that the net has
    80 + 1,168 + 650 = 1,898 parameters.

    Args:
        channels: feature maps of each stage, one to three stages.

    Raises:
        RequestError: no stage, more than three, or a count below 1.

    Example:
        >>> sum(p.numel() for p in digits_cnn().parameters())
        1898
    """
    return image_cnn(channels, side=8)


def digits_task(
    channels: Sequence[int] = (8, 16),
    lr: float = 1e-2,
    epochs: int = 10,
    batch_size: int = 64,
    seed: int = 0,
) -> Task:
    """Classify 8x8 digits with a small convolutional net and Adam.

    Args:
        channels: as in ``digits_cnn``.
        lr: Adam's learning rate.
        epochs: passes over the 1,400 training images.
        batch_size: images a step; the last step of an epoch takes what is left.
        seed: of initial weights and batch order.

    Raises:
        RequestError: a value is out of range.

    Example:
        >>> digits_task().steps
        220
    """
    train, test = digits()
    task = Task(
        model=partial(digits_cnn, channels),
        loss=cross_entropy,
        data=train,
        optimizer=partial(torch.optim.Adam, lr=lr),
        batch_size=batch_size,
        steps=1,
        seed=seed,
        eval_data=test,
        name="digits, convolutional net",
    )
    return for_epochs(task, epochs)


def photos_task(
    channels: Sequence[int] = (8, 16, 16),
    lr: float = 0.05,
    epochs: int = 5,
    batch_size: int = 32,
    samples: int | None = None,
    seed: int = 0,
    side: int = 32,
) -> Task:
    """Classify CIFAR-10 with a small convolutional net and SGD with momentum 0.9.

    Without augmentation and normalisation, so that nothing but batch order is random.

    Args:
        channels: feature maps of each stage.
        lr: learning rate.
        epochs: passes over the training images.
        batch_size: images a step; the last step of an epoch takes what is left.
        samples: how many training images, evenly spaced; None takes all.
        seed: of initial weights and batch order.
        side: of the images in pixels, 32, 16, 8 or 4: means over squares of the 32x32 ones.

    Raises:
        RequestError: a value is out of range.

    Example:
        >>> photos_task(samples=64, epochs=2).steps
        4
        >>> photos_task(channels=(4,), samples=64, side=8).data[0].shape
        torch.Size([64, 3, 8, 8])
    """
    if side not in (32, 16, 8, 4):
        raise RequestError(f"side is {side!r}: use 32, 16, 8 or 4 pixels")
    found = photos()
    task = Task(
        model=partial(image_cnn, channels, side, 3),
        loss=cross_entropy,
        data=_averaged(evenly_spaced(found.train, samples), side),
        optimizer=partial(torch.optim.SGD, lr=lr, momentum=0.9),
        batch_size=batch_size,
        steps=1,
        seed=seed,
        eval_data=_averaged(found.test, side),
        name=f"{found.source.label}, convolutional net",
    )
    return for_epochs(task, epochs)


def _averaged(images: Labelled, side: int) -> Labelled:
    """Return images as means over squares, so that they measure ``side`` pixels."""
    pixels, labels = images
    return F.avg_pool2d(pixels, pixels.shape[-1] // side), labels


def image_cnn(
    channels: Sequence[int] = (16, 32), side: int = 28, inputs: int = 1, classes: int = 10
) -> nn.Module:
    """Build a convolutional net for images ``(batch, inputs, side, side)`` with a score a class.

    Each stage is a 3x3 convolution with padding 1, a ReLU and a 2x2 max-pool; one dense layer
    reads the flattened rest.

    Args:
        channels: feature maps of each stage.
        side: of the image; each stage halves it, rounding down.
        inputs: colours of the image.
        classes: scores.

    Raises:
        RequestError: no stage, a count below 1, or more stages than the side can be halved.

    Example:
        >>> [sum(p.numel() for p in image_cnn(c).parameters()) for c in ((4, 8), (16, 32, 64))]
        [4266, 29066]
    """
    rest = side >> len(channels)
    if not channels or min(channels) < 1 or rest < 1:
        msg = (
            f"channels is {tuple(channels)!r}: give one count of at least 1 for each halving of "
            f"a {side}x{side} image"
        )
        raise RequestError(msg)
    layers: list[nn.Module] = []
    for maps_in, maps_out in zip((inputs, *channels), channels, strict=False):
        layers += [nn.Conv2d(maps_in, maps_out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * rest * rest, classes))
