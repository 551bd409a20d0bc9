"""Parts of architectures that are written by hand: layers, and what goes in."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Function = Callable[..., Tensor]
Table = dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]]
"""How a model is built and what goes into it, by name."""
Act = nn.ReLU


class Net(nn.Module):
    """Layers by name, and the function that uses them."""

    def __init__(self, function: Function, **layers: nn.Module | Tensor) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            module = isinstance(layer, nn.Module)
            setattr(self, name, layer if module else nn.Parameter(layer))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Run the function."""
        return self.function(self, *inputs)


def linear(a: int, b: int, *, bias: bool = True) -> nn.Linear:
    """Return a linear layer."""
    return nn.Linear(a, b, bias=bias)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Return random numbers, the same each time."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mlp_head(size: int) -> nn.Module:
    """Return a hidden layer and a head."""
    return nn.Sequential(linear(size, 10), Act(), linear(10, 4))


def rows() -> Tensor:
    """Return eight rows of six numbers."""
    return numbers(8, 6)


def series() -> Tensor:
    """Return four series of five times and six numbers."""
    return numbers(4, 5, 6)


def images() -> Tensor:
    """Return two images."""
    return numbers(2, 3, 16, 16)


def words() -> Tensor:
    """Return four sentences of five words."""
    return (torch.arange(20) * 7 % 50).reshape(4, 5)
