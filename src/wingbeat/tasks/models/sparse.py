"""Dense layers of which only some weights exist, drawn at random and fixed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from wingbeat.errors import RequestError


class SparseLinear(nn.Module):
    """A linear layer with a random share of its weights; the others do not exist.

    What is trained, nudged and compared are the weights that are kept, as one vector: weights
    that a mask only multiplies by 0 would take part in every distance and never move.

    Args:
        fan_in: inputs.
        fan_out: outputs.
        density: share of the weights that is kept, in (0, 1]; at least one.

    Source:
        The initialisation is that of ``torch.nn.Linear``, as if all weights were there.

    Example:
        >>> layer = SparseLinear(8, 4, 0.25)
        >>> layer.values.shape, layer(torch.zeros(3, 8)).shape
        (torch.Size([8]), torch.Size([3, 4]))
    """

    place: Tensor

    def __init__(self, fan_in: int, fan_out: int, density: float) -> None:
        super().__init__()
        if not 0 < density <= 1:
            raise RequestError(f"density is {density!r}: use a share above 0 and at most 1")
        count = max(1, round(density * fan_in * fan_out))
        bound = 1.0 / math.sqrt(fan_in)
        self.values = nn.Parameter(torch.empty(count).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(fan_out).uniform_(-bound, bound))
        kept = torch.randperm(fan_in * fan_out)[:count].sort().values
        place = torch.full((fan_in * fan_out,), count)  # past the end: a weight of 0
        place[kept] = torch.arange(count)
        self.register_buffer("place", place.reshape(fan_out, fan_in))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(batch, fan_out)`` of ``(batch, fan_in)``."""
        nothing = torch.zeros(1, dtype=self.values.dtype, device=self.values.device)
        weight = torch.cat([self.values, nothing])[self.place]
        return nn.functional.linear(x, weight, self.bias)


def sparse_mlp(
    sizes: Sequence[int], density: float, activation: Callable[[], nn.Module]
) -> nn.Module:
    """Build a dense net whose hidden layers keep a share of their weights; the last keeps all.

    Args:
        sizes: widths from the inputs to the outputs, at least three.
        density: share of the weights that is kept.
        activation: makes the layers between.

    Raises:
        RequestError: no hidden layer, or a density out of range.

    Example:
        >>> sum(p.numel() for p in sparse_mlp((64, 16, 10), 0.5, nn.ReLU).parameters())
        698
    """
    if len(sizes) < 3:
        raise RequestError(f"sizes is {tuple(sizes)!r}: give at least one hidden width")
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in pairwise(sizes[:-1]):
        layers += [SparseLinear(fan_in, fan_out, density), activation()]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))
