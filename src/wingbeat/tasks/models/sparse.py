"""Dense layers of which only some weights exist, drawn at random or found by pruning, and fixed."""

from __future__ import annotations

import copy
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
        values = torch.empty(count).uniform_(-bound, bound)
        bias = torch.empty(fan_out).uniform_(-bound, bound)
        kept = torch.randperm(fan_in * fan_out)[:count].sort().values
        self._take(values, bias, kept, (fan_out, fan_in))

    def _take(self, values: Tensor, bias: Tensor, kept: Tensor, shape: tuple[int, int]) -> None:
        self.values, self.bias = nn.Parameter(values), nn.Parameter(bias)
        place = torch.full((shape[0] * shape[1],), len(values))  # past the end: a weight of 0
        place[kept] = torch.arange(len(values))
        self.register_buffer("place", place.reshape(shape))

    @classmethod
    def of(cls, layer: nn.Linear, kept: Tensor) -> SparseLinear:
        """Return a layer with some of the weights of a full one, and its bias.

        Args:
            layer: the full one.
            kept: which, of its shape; at least one.
        """
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        places = kept.flatten().nonzero().flatten()
        weight = layer.weight.detach()
        shape = (layer.out_features, layer.in_features)
        made._take(weight.flatten()[places].clone(), layer.bias.detach().clone(), places, shape)
        return made

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


def pruned_mlp(full: nn.Module, density: float, train: Callable[[nn.Module], object]) -> nn.Module:
    """Return a dense net's start with the weights that are largest after training, and no others.

    Of every layer but the last the same share is kept, by magnitude. The kept weights stand at
    their initial values, so that the net is one to train from its start.

    Args:
        full: the net, a sequence of layers as it is initialised; it is left as it is.
        density: share of the weights that is kept; at least one of a layer.
        train: trains the copy that it is given.

    Source:
        Frankle and Carbin, "The lottery ticket hypothesis" (2019), one round.

    Example:
        >>> full = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> def train(net):
        ...     net[0].weight.data = torch.tensor([[1.0, 9.0], [-8.0, 0.0]])
        >>> pruned_mlp(full, 0.5, train)[0].place.tolist()
        [[2, 0], [1, 2]]
    """
    trained = copy.deepcopy(full)
    train(trained)
    *hidden, last = zip(full.children(), trained.children(), strict=True)
    layers = [
        SparseLinear.of(start, _largest(end.weight.detach(), density))
        if isinstance(start, nn.Linear) and isinstance(end, nn.Linear)
        else start
        for start, end in hidden
    ]
    return nn.Sequential(*layers, last[0])


def _largest(weight: Tensor, density: float) -> Tensor:
    """Return where the largest share of a tensor's magnitudes is; of equal ones the first."""
    count = max(1, round(density * weight.numel()))
    kept = torch.zeros(weight.numel(), dtype=torch.bool)
    kept[weight.abs().flatten().argsort(descending=True, stable=True)[:count]] = True
    return kept.reshape(weight.shape)
