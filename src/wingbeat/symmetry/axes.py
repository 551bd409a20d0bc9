"""Axes of tensors as trees in a union-find forest: which axes must move together.

An axis is a *leaf* (its entries may be permuted freely unless it is pinned), a *product* of axes
in row-major order (what ``view`` makes of two neighbouring axes), a *sum* of axes laid end to end
(what ``cat`` makes), a *family* (another axis for every value of an index leaf: the three parts
of a fused query-key-value projection) or *wild* (the tensor is constant along it, so it ties
nothing). A leaf may turn into a product or a sum when a later operation shows its structure:
it then forwards to the new node, and whoever holds the leaf sees the structure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import count
from math import prod
from typing import Final


class AxisKind(Enum):
    """What an axis is made of."""

    LEAF = "leaf"
    PRODUCT = "product"
    SUM = "sum"
    FAMILY = "family"
    WILD = "wild"


_serials = count()


class Axis:
    """A node of the forest; compare nodes by identity after `find_root`.

    Attributes:
        kind: what it is made of.
        size: number of entries.
        parts: factors of a product, segments of a sum, members of a family.
        index: of a family: the leaf whose value chooses the member.
        reason: of a leaf: why its entries must stay in place, empty while they are free.
        is_index: of a leaf: it chooses members of families.
        origins: of a leaf: the (node, output axis) of the reshapes that made it.
    """

    __slots__ = (
        "forward",
        "index",
        "is_index",
        "kind",
        "origins",
        "parts",
        "reason",
        "serial",
        "size",
    )

    def __init__(
        self,
        kind: AxisKind,
        size: int,
        parts: tuple[Axis, ...] = (),
        index: Axis | None = None,
        reason: str = "",
    ) -> None:
        self.kind, self.size, self.parts, self.index = kind, size, parts, index
        self.reason, self.is_index = reason, False
        self.origins: frozenset[tuple[str, int]] = frozenset()
        self.forward: Axis | None = None
        self.serial = next(_serials)


ONE: Final = Axis(AxisKind.PRODUCT, 1)
"""The axis of size one: the empty product."""


def find_root(axis: Axis) -> Axis:
    """Return the node that an axis stands for now, and shorten the way to it."""
    root = axis
    while root.forward is not None:
        root = root.forward
    while axis.forward is not None:
        axis.forward, axis = root, axis.forward
    return root


def leaf(size: int, reason: str = "") -> Axis:
    """Return a new axis that nothing else knows; with a reason it is pinned.

    >>> leaf(3).size, leaf(1) is ONE
    (3, True)
    """
    return ONE if size == 1 else Axis(AxisKind.LEAF, size, reason=reason)


def wild(size: int) -> Axis:
    """Return an axis along which the tensor is constant."""
    return ONE if size == 1 else Axis(AxisKind.WILD, size)


def product(parts: Sequence[Axis]) -> Axis:
    """Return the row-major product of axes, flattened and without axes of size one.

    >>> h, d = leaf(2), leaf(3)
    >>> product([h, ONE, d]).size, product([h]) is h
    (6, True)
    """
    flat = [factor for part in parts for factor in factors(part)]
    if not flat:
        return ONE
    return (
        flat[0]
        if len(flat) == 1
        else Axis(AxisKind.PRODUCT, prod(f.size for f in flat), tuple(flat))
    )


def total(parts: Sequence[Axis]) -> Axis:
    """Return axes laid end to end, flattened and without empty ones."""
    flat = [segment for part in parts for segment in segments(part) if segment.size]
    return flat[0] if len(flat) == 1 else Axis(AxisKind.SUM, sum(s.size for s in flat), tuple(flat))


def family(index: Axis, members: Sequence[Axis]) -> Axis:
    """Return the axis that is ``members[i]`` where the index leaf has the value i."""
    roots = [find_root(member) for member in members]
    if all(root is roots[0] for root in roots):
        return roots[0]
    return Axis(AxisKind.FAMILY, roots[0].size, tuple(roots), index)


def factors(axis: Axis) -> list[Axis]:
    """Return the factors of an axis, outermost first; an axis that is no product is its own."""
    root = find_root(axis)
    if root.kind is not AxisKind.PRODUCT:
        return [root]
    return [factor for part in root.parts for factor in factors(part)]


def segments(axis: Axis) -> list[Axis]:
    """Return the pieces of a sum in order; an axis that is no sum is its own."""
    root = find_root(axis)
    if root.kind is not AxisKind.SUM:
        return [root]
    return [segment for part in root.parts for segment in segments(part)]


def leaves(axis: Axis) -> Iterator[Axis]:
    """Yield every leaf of the tree below an axis, the index leaves of families left out."""
    root = find_root(axis)
    if root.kind is AxisKind.LEAF:
        yield root
    for part in root.parts:
        yield from leaves(part)


def pin(axis: Axis, reason: str) -> None:
    """Fix every entry of an axis; the first reason given stays."""
    for found in leaves(axis):
        found.reason = found.reason or reason


def is_wild(axis: Axis) -> bool:
    """Tell whether any part of an axis is constant along itself."""
    root = find_root(axis)
    return root.kind is AxisKind.WILD or any(is_wild(part) for part in root.parts)
