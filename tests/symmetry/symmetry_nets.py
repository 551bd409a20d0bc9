"""Small networks written out: what the symmetries of are counted by hand."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def mlp(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths[:-1]):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def vgg11(width: int = 4, classes: int = 5, hidden: int = 12) -> nn.Sequential:
    """Eight convolutions with batch norm, pooled to 2x2, flattened before two linear layers."""
    layers: list[nn.Module] = []
    before = 3
    for part in (1, "M", 2, "M", 4, 4, "M", 8, 8, "M", 8, 8):
        if part == "M":
            layers.append(nn.MaxPool2d(2))
            continue
        after = width * int(part)
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        before = after
    layers += [nn.Flatten(), nn.Linear(before * 4, hidden), nn.ReLU(), nn.Linear(hidden, classes)]
    return nn.Sequential(*layers)


class Block(nn.Module):
    """Two convolutions, or three with the bottleneck, around a shortcut."""

    def __init__(self, before: int, after: int, stride: int, option: str, inner: int) -> None:
        super().__init__()
        self.stride, self.pad = stride, after - before
        if option == "bottleneck":
            self.convs = nn.Sequential(
                nn.Conv2d(before, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(),
                nn.Conv2d(inner, inner, 3, stride, 1, bias=False), nn.BatchNorm2d(inner),
                nn.ReLU(), nn.Conv2d(inner, after, 1, bias=False), nn.BatchNorm2d(after),
            )  # fmt: skip
        else:
            self.convs = nn.Sequential(
                nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after),
                nn.ReLU(), nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after),
            )  # fmt: skip
        self.shortcut: nn.Module | None = None
        if (stride != 1 or before != after) and option != "A":
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x: Tensor) -> Tensor:
        if self.shortcut is not None:
            short = self.shortcut(x)
        elif self.pad:
            half = self.pad // 2
            short = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, half, self.pad - half))
        else:
            short = x
        return F.relu(self.convs(x) + short)


class ResNet(nn.Module):
    """A stem, stages of blocks, and a linear layer."""

    def __init__(self, widths: list[int], depth: list[int], option: str = "B") -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(widths[0])
        blocks, before = [], widths[0]
        for stage, (width, count) in enumerate(zip(widths, depth, strict=True)):
            after = 4 * width if option == "bottleneck" else width
            for place in range(count):
                stride = 2 if stage and not place else 1
                blocks.append(Block(before, after, stride, option, width))
                before = after
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(before, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.norm(self.stem(x))))
        return self.head(x.mean((2, 3)))


def resnet20(width: int = 4, option: str = "B") -> ResNet:
    return ResNet([width, 2 * width, 4 * width], [3, 3, 3], option)


def resnet50(width: int = 2) -> ResNet:
    return ResNet([width, 2 * width, 4 * width, 8 * width], [3, 4, 6, 3], "bottleneck")


class DenseNet(nn.Module):
    """Blocks whose layers see all earlier ones, with a halving convolution between."""

    def __init__(self, growth: int = 4, layers: tuple[int, ...] = (3, 3)) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        width, self.stages, self.between = 6, nn.ModuleList(), nn.ModuleList()
        for count in layers:
            stage = nn.ModuleList()
            for _ in range(count):
                stage.append(self._layer(width, growth))
                width += growth
            self.stages.append(stage)
            self.between.append(
                nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width // 2, 1))
            )
            width //= 2
        self.head = nn.Linear(width, 5)

    @staticmethod
    def _layer(width: int, growth: int) -> nn.Sequential:
        return nn.Sequential(
            nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 2 * growth, 1),
            nn.BatchNorm2d(2 * growth), nn.ReLU(), nn.Conv2d(2 * growth, growth, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage, between in zip(self.stages, self.between, strict=True):
            for layer in stage:
                x = torch.cat([x, layer(x)], 1)
            x = F.avg_pool2d(between(x), 2)
        return self.head(x.mean((2, 3)))


class GroupedNet(nn.Module):
    """Grouped and depthwise convolutions with group norm."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 12, 3, padding=1)
        self.two = nn.Conv2d(12, 24, 3, padding=1, groups=4)
        self.norm = nn.GroupNorm(4, 24)
        self.depth = nn.Conv2d(24, 24, 3, padding=1, groups=24)
        self.mix = nn.Conv2d(24, 7, 1)
        self.slope = nn.PReLU(7)
        self.head = nn.Linear(7, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.two(F.relu(self.one(x)))))
        return self.head(self.slope(self.mix(self.depth(x))).mean((2, 3)))


class Attention(nn.Module):
    """Attention with one projection for query, key and value, split by a view."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, places, width = x.shape
        parts = self.qkv(x).reshape(batch, places, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        found = F.scaled_dot_product_attention(q, k, v)
        return self.out(found.transpose(1, 2).reshape(batch, places, width))


class Layer(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.first(x))
        return x + self.down(F.gelu(self.up(self.second(x))))


class ViT(nn.Module):
    """Patches by a convolution, a class token, learned places."""

    def __init__(self, width: int = 24, heads: int = 4, inner: int = 50, depth: int = 2) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.place = nn.Parameter(torch.randn(1, 5, width))
        self.layers = nn.Sequential(*(Layer(width, heads, inner) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), patches], 1) + self.place
        return self.head(self.norm(self.layers(x))[:, 0])


def transformer(depth: int = 4, width: int = 24, heads: int = 4, inner: int = 40) -> nn.Module:
    """torch's own encoder layers with a linear layer before and after."""
    layers = [
        nn.TransformerEncoderLayer(width, heads, inner, dropout=0.0, batch_first=True)
        for _ in range(depth)
    ]
    return nn.Sequential(nn.Linear(7, width), *layers, nn.Linear(width, 5))
