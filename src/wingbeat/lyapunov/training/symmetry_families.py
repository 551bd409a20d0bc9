"""Families of directions that may be symmetries of a network's loss, read off its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from wingbeat.params import Layout

CHANNEL_NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
WHOLE_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
HOMOGENEOUS = (nn.ReLU, nn.LeakyReLU)
TRANSPARENT = (nn.Dropout, nn.Flatten, nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool2d, nn.Identity)
WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d)


@dataclass(frozen=True)
class Family:
    """Directions of one kind in one place.

    Attributes:
        kind: "shift", "idle", "scale" or "rescale".
        where: names of the tensors.
        count: how many independent directions.
        direction: from parameters ``(P,)`` to one random direction ``(P,)`` of the family
            there, always the same combination.
        project: takes the whole family out of tangents ``(k, P)``; None where the directions
            depend on the parameters.
    """

    kind: str
    where: tuple[str, ...]
    count: int
    direction: Callable[[Tensor], Tensor]
    project: Callable[[Tensor], Tensor] | None


def candidates(model: nn.Module, layout: Layout, idle: Tensor) -> list[Family]:
    """Return all families worth a trial.

    Args:
        model: whose layers are read, in the order in which it lists them.
        layout: of its trainable parameters.
        idle: ``(P,)``, which weights had no gradient.

    >>> from wingbeat.params import Layout, trainable
    >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> own = Layout.of(trainable(net))
    >>> [(f.kind, f.count) for f in candidates(net, own, torch.zeros(own.size, dtype=bool))]
    [('shift', 4), ('shift', 5), ('idle', 4), ('idle', 2), ('rescale', 4)]
    """
    leaves = [(name, m) for name, m in model.named_modules() if not list(m.children())]
    found: list[Family] = []
    for name, module in leaves:
        found += _of_layer(f"{name}." if name else "", module, layout, idle)
    found += _of_biases([name for name in layout.names if name.endswith("bias")], layout)
    found += _idle_coordinates(layout, idle)
    shown = [(name, m) for name, m in leaves if not isinstance(m, TRANSPARENT)]
    for (name, layer), (_, following) in pairwise(shown):
        found += _scales(f"{name}." if name else "", layer, following, layout)
    for (a, first), (_, between), (b, second) in zip(shown, shown[1:], shown[2:], strict=False):
        weighted = isinstance(first, WEIGHTED) and isinstance(second, WEIGHTED)
        if weighted and isinstance(between, HOMOGENEOUS):
            found += _rescalings(f"{a}.", f"{b}.", layout)
    return found


def _of_layer(prefix: str, module: nn.Module, layout: Layout, idle: Tensor) -> Iterator[Family]:
    weight, bias = f"{prefix}weight", f"{prefix}bias"
    if isinstance(module, nn.Linear) and weight in layout.slices and module.out_features > 1:
        dead = idle[layout.slices[weight]].reshape(module.weight.shape).all(0)
        yield from _shift(weight, bias, ~dead, layout)


def _of_biases(names: list[str], layout: Layout) -> Iterator[Family]:
    for name in names:
        place = layout.slices[name]
        yield _coordinates((name,), _mask(layout, place))
        third, rest = divmod(place.stop - place.start, 3)
        if not rest and third > 1:  # queries, keys and values share one bias: the keys' is idle
            middle = slice(place.start + third, place.start + 2 * third)
            yield _coordinates((f"{name} (keys)",), _mask(layout, middle))


def _shift(weight: str, bias: str, alive: Tensor, layout: Layout) -> Iterator[Family]:
    """Add the same row to every row of a matrix, the same number to every bias."""
    where = (weight, bias) if bias in layout.slices else (weight,)
    count = int(alive.sum()) + len(where) - 1
    shapes = dict(zip(layout.names, layout.shapes, strict=True))
    if not count:
        return
    row = torch.where(alive, _random(weight, len(alive)).to(alive.device), 0.0)

    def direction(params: Tensor) -> Tensor:
        """Return the same addition to every row."""
        out = torch.zeros_like(params)
        out[layout.slices[weight]] = row.to(params).expand(shapes[weight]).reshape(-1)
        if len(where) > 1:
            out[layout.slices[bias]] = 1.0
        return out

    def project(tangents: Tensor) -> Tensor:
        """Take the mean over the rows out of the tangents."""
        out = tangents.clone()
        for name in where:
            piece = out[:, layout.slices[name]].view(len(out), shapes[name][0], -1)
            mean = piece.mean(1, keepdim=True)
            piece -= mean * alive.to(mean) if name == weight else mean
        return out

    yield Family("shift", where, count, direction, project)


def _idle_coordinates(layout: Layout, idle: Tensor) -> Iterator[Family]:
    """Weights without gradient, without the biases that are candidates as a whole."""
    mask = idle.clone()
    for name, place in layout.slices.items():
        if name.endswith("bias") and bool(mask[place].all()):
            mask[place] = False
    if bool(mask.any()):
        where = tuple(name for name, place in layout.slices.items() if bool(mask[place].any()))
        yield _coordinates(where, mask)


def _coordinates(where: tuple[str, ...], mask: Tensor) -> Family:
    drawn = _random(",".join(where), mask.numel()).to(mask.device)

    def direction(params: Tensor) -> Tensor:
        return torch.where(mask.to(params.device), drawn.to(params), 0.0)

    def project(tangents: Tensor) -> Tensor:
        return tangents.masked_fill(mask.to(tangents.device), 0.0)

    return Family("idle", where, int(mask.sum()), direction, project)


def _scales(
    prefix: str, layer: nn.Module, following: nn.Module, layout: Layout
) -> Iterator[Family]:
    """Weights times a number, in front of a layer that normalises."""
    where = tuple(n for n in (f"{prefix}weight", f"{prefix}bias") if n in layout.slices)
    known = isinstance(layer, WEIGHTED) and f"{prefix}weight" in where
    if not known or not isinstance(following, CHANNEL_NORMS + WHOLE_NORMS):
        return
    rows = layout.shapes[layout.names.index(where[0])][0]
    each = isinstance(following, CHANNEL_NORMS)
    factors = _random(where[0], rows) if each else torch.ones(rows, dtype=torch.float64)

    def direction(params: Tensor) -> Tensor:
        return _by_rows(params, [(name, factors) for name in where], layout)

    yield Family("scale", where, rows if each else 1, direction, None)


def _rescalings(before: str, after: str, layout: Layout) -> Iterator[Family]:
    """Incoming weights of a unit times a number, outgoing ones divided by it."""
    incoming = [n for n in (f"{before}weight", f"{before}bias") if n in layout.slices]
    outgoing = f"{after}weight"
    shapes = dict(zip(layout.names, layout.shapes, strict=True))
    if f"{before}weight" not in incoming or outgoing not in shapes:
        return
    units, columns = shapes[incoming[0]][0], shapes[outgoing][1]
    if columns % units:
        return
    factors = _random(outgoing, units)

    def direction(params: Tensor) -> Tensor:
        """Return incoming weights less outgoing ones, as both factors cancel."""
        out = _by_rows(params, [(name, factors) for name in incoming], layout)
        place, rows = layout.slices[outgoing], shapes[outgoing][0]
        wide = factors.to(params).repeat_interleave(columns // units)
        matrix = params[place].view(rows, columns, -1)
        out[place] = -(matrix * wide[None, :, None]).reshape(-1)
        return out

    yield Family("rescale", (*incoming, outgoing), units, direction, None)


def _by_rows(params: Tensor, factors: list[tuple[str, Tensor]], layout: Layout) -> Tensor:
    out = torch.zeros_like(params)
    for name, factor in factors:
        place = layout.slices[name]
        rows = params[place].view(len(factor), -1)
        out[place] = (rows * factor.to(params)[:, None]).reshape(-1)
    return out


def _mask(layout: Layout, place: slice) -> Tensor:
    mask = torch.zeros(layout.size, dtype=torch.bool)
    mask[place] = True
    return mask


def _random(name: str, count: int) -> Tensor:
    """Return numbers of either sign, between 1/2 and 1, that a name decides."""
    generator = torch.Generator().manual_seed(len(name) + count)
    drawn = torch.rand(count, generator=generator, dtype=torch.float64)
    return torch.where(drawn < 0.5, drawn - 1.0, drawn)
