"""A tensor as views with one axis for each leaf: where permuting is plain indexing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wingbeat.symmetry.axes import Axis, AxisKind, factors, find_root, segments
from wingbeat.symmetry.cut import select_index

Step = tuple[str, int, tuple[int, ...]]
"""Name of a view operation, the axis it acts on, its numbers."""


@dataclass(frozen=True)
class AxisBlock:
    """A part of a tensor in which every axis is one leaf.

    Attributes:
        steps: view operations from the tensor to the part.
        leaves: number of the leaf of every axis of the part; −1 for a wild axis.
    """

    steps: tuple[Step, ...]
    leaves: tuple[int, ...]

    def view(self, tensor: Tensor) -> Tensor:
        """Return the part as a view of a tensor; writing to it writes to the tensor."""
        for name, dim, numbers in self.steps:
            if name == "split":
                tensor = torch.unflatten(tensor, dim, numbers)
            elif name == "narrow":
                tensor = tensor.narrow(dim, numbers[0], numbers[1])
            else:
                tensor = tensor.select(dim, numbers[0])
        return tensor

    def places(self, leaf: int) -> list[int]:
        """Return the axes of the part that belong to a leaf."""
        return [dim for dim, number in enumerate(self.leaves) if number == leaf]


def blocks(axes: Sequence[Axis], numbers: dict[int, int]) -> tuple[AxisBlock, ...]:
    """Return the parts of a tensor.

    Args:
        axes: of the tensor.
        numbers: number of every leaf by ``id``; leaves that are met first get the next one.

    >>> from wingbeat.symmetry.axes import leaf, product, total
    >>> h, d, e = leaf(2), leaf(3), leaf(4)
    >>> [block.leaves for block in blocks([total([product([h, d]), e])], {})]
    [(0, 1), (2,)]
    """
    found = []
    for steps, parts in _expand((), [find_root(axis) for axis in axes]):
        leaves = tuple(
            -1 if part.kind is AxisKind.WILD else numbers.setdefault(id(part), len(numbers))
            for part in parts
        )
        found.append(AxisBlock(steps, leaves))
    return tuple(found)


def _expand(
    steps: tuple[Step, ...], parts: list[Axis]
) -> Iterator[tuple[tuple[Step, ...], list[Axis]]]:
    """Resolve the first axis that is no leaf, and go on with what it is made of."""
    for dim, part in enumerate(parts):
        before, after = parts[:dim], parts[dim + 1 :]
        if part.size == 1:
            yield from _expand((*steps, ("select", dim, (0,))), before + after)
            return
        if part.kind is AxisKind.PRODUCT:
            inner = factors(part)
            step: Step = ("split", dim, tuple(factor.size for factor in inner))
            yield from _expand((*steps, step), before + inner + after)
            return
        if part.kind is AxisKind.SUM:
            start = 0
            for piece in segments(part):
                step = ("narrow", dim, (start, piece.size))
                start += piece.size
                yield from _expand((*steps, step), [*before, piece, *after])
            return
        if part.is_index and any(_uses(other, part) for other in before + after):
            for value in range(part.size):
                rest = [find_root(select_index(other, part, value)) for other in before + after]
                yield from _expand((*steps, ("select", dim, (value,))), rest)
            return
    if any(part.kind is AxisKind.FAMILY for part in parts):
        # All members are the same axis by now, so any of them will do.
        members = [part.parts[0] if part.kind is AxisKind.FAMILY else part for part in parts]
        yield from _expand(steps, [find_root(member) for member in members])
        return
    yield steps, parts


def _uses(axis: Axis, index: Axis) -> bool:
    root = find_root(axis)
    if root.kind is AxisKind.FAMILY and root.index is not None and find_root(root.index) is index:
        return True
    return any(_uses(part, index) for part in root.parts)
