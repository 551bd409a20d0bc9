"""Cutting an axis in two: the entries before a place and those from it on."""

from __future__ import annotations

from math import prod

from wingbeat.symmetry.axes import (
    Axis,
    AxisKind,
    factors,
    family,
    find_root,
    leaf,
    product,
    segments,
    total,
    wild,
)


def cut(axis: Axis, place: int) -> tuple[Axis, Axis] | None:
    """Return the entries before and from ``place`` on; None where they hang together.

    >>> left, right = cut(leaf(5), 2)
    >>> left.size, right.size
    (2, 3)
    """
    root = find_root(axis)
    if root.kind is AxisKind.LEAF and not root.is_index:
        halves = leaf(place, root.reason), leaf(root.size - place, root.reason)
        root.forward = Axis(AxisKind.SUM, root.size, halves)
        return halves
    if root.kind is AxisKind.WILD:
        return wild(place), wild(root.size - place)
    if root.kind is AxisKind.SUM:
        return _cut_sum(root, place)
    if root.kind is AxisKind.FAMILY and root.index is not None:
        pairs = [pair for pair in (cut(member, place) for member in root.parts) if pair]
        if len(pairs) == len(root.parts):
            return family(root.index, [p[0] for p in pairs]), family(
                root.index, [p[1] for p in pairs]
            )
    return _cut_product(root, place) if root.kind is AxisKind.PRODUCT else None


def _cut_sum(root: Axis, place: int) -> tuple[Axis, Axis] | None:
    before: list[Axis] = []
    after = segments(root)
    while after and place >= after[0].size:
        place -= after[0].size
        before.append(after.pop(0))
    if place and after:
        halves = cut(after.pop(0), place)
        if halves is None:
            return None
        before.append(halves[0])
        after.insert(0, halves[1])
    return total(before), total(after)


def _cut_product(root: Axis, place: int) -> tuple[Axis, Axis] | None:
    head, *rest = factors(root)
    inner = prod(factor.size for factor in rest)
    if place % inner:
        return None
    if head.is_index:
        return _cut_sum(unrolled(root), place)
    halves = cut(head, place // inner)
    return (product([halves[0], *rest]), product([halves[1], *rest])) if halves else None


def unrolled(axis: Axis) -> Axis:
    """Return a product led by an index leaf as the sum over the values of the index."""
    head, *rest = factors(axis)
    return total([select_index(product(rest), head, value) for value in range(head.size)])


def select_index(axis: Axis, index: Axis, value: int) -> Axis:
    """Return the axis with families over ``index`` replaced by their member at ``value``."""
    root = find_root(axis)
    if (
        root.kind is AxisKind.FAMILY
        and root.index is not None
        and find_root(root.index) is find_root(index)
    ):
        return select_index(root.parts[value], index, value)
    if not root.parts:
        return root
    parts = [select_index(part, index, value) for part in root.parts]
    if root.kind is AxisKind.FAMILY and root.index is not None:
        return family(root.index, parts)
    return product(parts) if root.kind is AxisKind.PRODUCT else total(parts)
