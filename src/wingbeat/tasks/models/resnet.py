"""Residual nets for 32x32 images, with the normalisation as an option."""

from __future__ import annotations

from typing import Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wingbeat.errors import RequestError, nearest

Norm = Literal["layer", "batch", "group"]
BLOCKS: Final[dict[int, tuple[int, ...]]] = {
    8: (1, 1, 1),
    14: (2, 2, 2),
    20: (3, 3, 3),
    32: (5, 5, 5),
    34: (3, 4, 6, 3),
}
"""Basic blocks of each stage, by depth."""
GROUPS: Final = 8
VARIANCE_FLOOR: Final = 1e-14
"""Added to the variance over channels: the standard deviation gets 1e-7, as in the paper's code."""


class ChannelNorm(nn.Module):
    """Normalise the channels of each pixel, then scale and shift them.

    The variance gets ``VARIANCE_FLOOR``, so that the derivative exists where all channels of a
    pixel are equal.

    Source:
        arXiv 2506.13234 uses layer normalisation at each pixel in its residual nets.

    Example:
        >>> x = ChannelNorm(4)(torch.randn(2, 4, 3, 3))
        >>> bool(x.mean(dim=1).abs().max() < 1e-5)
        True
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return images ``(batch, channels, height, width)`` of the same shape."""
        # The fused kernel wants channels last; the result stays so, as the convolutions like it.
        last = x.permute(0, 2, 3, 1)
        normal = F.layer_norm(last, self.weight.shape, self.weight, self.bias, VARIANCE_FLOOR)
        return normal.permute(0, 3, 1, 2)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with norms, added to the input.

    Where the shape changes, the input passes a 1x1 convolution with a norm of its own.

    Source:
        He et al., "Deep Residual Learning for Image Recognition" (2016), figure 2.

    Example:
        >>> BasicBlock(4, 8, 2, "batch")(torch.zeros(1, 4, 6, 6)).shape
        torch.Size([1, 8, 3, 3])
    """

    def __init__(self, inside: int, outside: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.norm1 = normalise(norm, outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.norm2 = normalise(norm, outside)
        self.shortcut = nn.Sequential()
        if stride != 1 or inside != outside:
            self.shortcut.add_module("conv", nn.Conv2d(inside, outside, 1, stride, bias=False))
            self.shortcut.add_module("norm", normalise(norm, outside))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        inner = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(inner)) + self.shortcut(x))


class ResNet(nn.Module):
    """A residual net: a 3x3 stem, stages of basic blocks that double the width, a dense layer.

    Weights are Kaiming-normal with √(2/fan_in), biases zero.

    Args:
        depth: 8, 14, 20 or 32 (three stages) or 34 (four).
        width: channels of the first stage.
        norm: "layer" (over the channels of each pixel), "batch" or "group".
        classes: number of scores.
        channels: of the images.

    Raises:
        RequestError: an unknown depth or norm, or a width that groups do not divide.

    Source:
        He et al. (2016), section 4.2; widths and norms as in arXiv 2506.13234.

    Example:
        >>> sum(p.numel() for p in ResNet(20, 32).parameters())
        1084586
        >>> sum(p.numel() for p in ResNet(8, 64).parameters())
        1227594
    """

    def __init__(
        self,
        depth: int = 20,
        width: int = 16,
        norm: Norm = "layer",
        classes: int = 10,
        channels: int = 3,
    ) -> None:
        super().__init__()
        if depth not in BLOCKS:
            raise RequestError(f"depth is {depth!r}: use one of {sorted(BLOCKS)}")
        if width < 1:
            raise RequestError(f"width is {width!r}: use at least 1")
        self.conv = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.norm = normalise(norm, width)
        blocks, inside = [], width
        for stage, count in enumerate(BLOCKS[depth]):
            for place in range(count):
                stride = 2 if stage > 0 and place == 0 else 1
                blocks.append(BasicBlock(inside, width << stage, stride, norm))
                inside = width << stage
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(inside, classes)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores ``(batch, classes)`` of images ``(batch, channels, 32, 32)``."""
        x = F.relu(self.norm(self.conv(x)))
        scores: Tensor = self.head(self.blocks(x).mean(dim=(2, 3)))
        return scores


def normalise(norm: Norm, channels: int) -> nn.Module:
    """Return a normalisation layer.

    Raises:
        RequestError: an unknown name, or channels that the groups do not divide.

    Example:
        >>> normalise("group", 16).num_groups
        8
    """
    if norm == "layer":
        return ChannelNorm(channels)
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "group":
        groups = min(GROUPS, channels)
        if channels % groups:
            raise RequestError(f"{channels} channels cannot be cut into {groups} groups")
        return nn.GroupNorm(groups, channels)
    raise RequestError(f"norm is {norm!r}: {nearest(str(norm), ('layer', 'batch', 'group'))}")
