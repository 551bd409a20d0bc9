"""Architectures over images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.architectures.pieces import Act, Net, Table, images, linear, numbers


def cnn(norm: Callable[[int], nn.Module] = nn.BatchNorm2d, groups: int = 1) -> nn.Module:
    """Return a small CNN."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), norm(8), Act(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1, groups=groups), norm(16), Act(), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), linear(64, 4),
    )  # fmt: skip


def lenet() -> nn.Module:
    """Return LeNet-5 for 28 × 28 pixels of three colours."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(),
        nn.AvgPool2d(2), nn.Flatten(), linear(400, 120), nn.Tanh(),
        linear(120, 84), nn.Tanh(), linear(84, 10),
    )  # fmt: skip


def separable() -> nn.Module:
    """Return depthwise and pointwise convolutions with squeeze and excitation."""

    def run(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x).relu()
        x = m.point(m.depth(x).relu())
        x = x * m.excite(m.squeeze(x.mean((2, 3))).relu()).sigmoid()[:, :, None, None]
        return m.head(x.mean((2, 3)))

    return Net(
        run, stem=nn.Conv2d(3, 8, 3), depth=nn.Conv2d(8, 8, 3, groups=8),
        point=nn.Conv2d(8, 16, 1), squeeze=linear(16, 6), excite=linear(6, 16), head=linear(16, 4),
    )  # fmt: skip


def unet() -> nn.Module:
    """Return a U-net with one skip."""

    def run(m: Any, x: Tensor) -> Tensor:
        a = m.down(x).relu()
        b = m.up(m.deep(F.max_pool2d(a, 2)).relu())
        return m.out(m.join(torch.cat([a, b], 1)).relu())

    return Net(
        run, down=nn.Conv2d(3, 8, 3, padding=1), deep=nn.Conv2d(8, 12, 3, padding=1),
        up=nn.ConvTranspose2d(12, 6, 2, stride=2), join=nn.Conv2d(14, 8, 3, padding=1),
        out=nn.Conv2d(8, 2, 1),
    )  # fmt: skip


def super_resolution() -> nn.Module:
    """Return convolutions and a pixel shuffle."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, padding=2), nn.Tanh(), nn.Conv2d(8, 12, 3, padding=1),
        nn.PixelShuffle(2),
    )  # fmt: skip


def generator() -> nn.Module:
    """Return the generator of a DCGAN."""
    return nn.Sequential(
        nn.Unflatten(1, (6, 1, 1)), nn.ConvTranspose2d(6, 16, 4), nn.BatchNorm2d(16), Act(),
        nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.BatchNorm2d(8), Act(),
        nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip


def per_channel() -> nn.Module:
    """Return PReLU with a slope for each channel."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.PReLU(8), nn.Conv2d(8, 12, 3), nn.PReLU(12), nn.Flatten(1),
        linear(12 * 144, 4),
    )  # fmt: skip


TABLE: Table = {
    "CNN": (cnn, images),
    "CNN, group norm": (partial(cnn, partial(nn.GroupNorm, 4)), images),
    "CNN, instance norm": (partial(cnn, nn.InstanceNorm2d), images),
    "CNN, groups": (partial(cnn, nn.BatchNorm2d, 2), images),
    "CNN, PReLU": (per_channel, images),
    "LeNet": (lenet, lambda: numbers(2, 3, 28, 28)),
    "separable, squeeze and excite": (separable, images),
    "U-net": (unet, images),
    "super-resolution": (super_resolution, images),
    "DCGAN generator": (generator, lambda: numbers(4, 6)),
}  # fmt: skip
