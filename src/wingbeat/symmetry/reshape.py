"""Reading the same numbers under another shape: splitting, cutting and regrouping axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from wingbeat.symmetry.axes import (
    ONE,
    Axis,
    Kind,
    factors,
    family,
    find,
    leaf,
    pin,
    product,
    segments,
    total,
    wild,
)


def first(parts: list[Axis], flatten: Callable[[Axis], list[Axis]]) -> Axis:
    """Take the first part off a list, which may have got structure since the list was made."""
    parts[:1] = flatten(parts[0])
    return parts.pop(0)


def take(parts: list[Axis], size: int) -> tuple[list[Axis], list[Axis]] | None:
    """Return the leading factors that make up ``size`` and the rest, splitting one if needed.

    None if the sizes do not divide.
    """
    taken: list[Axis] = []
    have = 1
    rest = list(parts)
    while have < size:
        if not rest:
            return None
        head = first(rest, factors)
        if size % (have * head.size) == 0:
            taken.append(head)
            have *= head.size
            continue
        halves = split(head, size // have) if size % have == 0 else None
        if halves is None:
            return None
        taken.append(halves[0])
        rest[:0] = factors(halves[1])
        have = size
    return taken, rest


def split(axis: Axis, outer: int) -> tuple[Axis, Axis] | None:
    """Return an axis as (outer, inner) factors, or None where it has no such structure."""
    root = find(axis)
    if root.size % outer:
        return None
    inner = root.size // outer
    if root.kind is Kind.LEAF:
        halves = leaf(outer, root.reason), leaf(inner, root.reason)
        root.forward = product(halves)
        return halves
    if root.kind is Kind.WILD:
        return wild(outer), wild(inner)
    if root.kind is Kind.PRODUCT:
        found = take(factors(root), outer)
        return (product(found[0]), product(found[1])) if found else None
    return _split_sum(root, inner) if root.kind is Kind.SUM else _split_family(root, outer)


def _split_sum(root: Axis, inner: int) -> tuple[Axis, Axis] | None:
    from wingbeat.symmetry.unify import unify  # each of the two needs the other

    if any(part.size % inner for part in segments(root)):
        return None
    pairs = [split(part, part.size // inner) for part in segments(root)]
    if any(pair is None for pair in pairs):
        return None
    whole = [pair for pair in pairs if pair is not None]
    shared = whole[0][1]
    for _, other in whole[1:]:
        shared = unify(shared, other, "reshape of a concatenation")
    return total([outer for outer, _ in whole]), shared


def _split_family(root: Axis, outer: int) -> tuple[Axis, Axis] | None:
    pairs = [pair for pair in (split(member, outer) for member in root.parts) if pair]
    if len(pairs) < len(root.parts) or root.index is None:
        return None
    return family(root.index, [p[0] for p in pairs]), family(root.index, [p[1] for p in pairs])


def cut(axis: Axis, place: int) -> tuple[Axis, Axis] | None:
    """Return the entries before and from ``place`` on; None where they hang together.

    >>> left, right = cut(leaf(5), 2)
    >>> left.size, right.size
    (2, 3)
    """
    root = find(axis)
    if root.kind is Kind.LEAF and not root.is_index:
        halves = leaf(place, root.reason), leaf(root.size - place, root.reason)
        root.forward = Axis(Kind.SUM, root.size, halves)
        return halves
    if root.kind is Kind.WILD:
        return wild(place), wild(root.size - place)
    if root.kind is Kind.SUM:
        return _cut_sum(root, place)
    if root.kind is Kind.FAMILY and root.index is not None:
        pairs = [pair for pair in (cut(member, place) for member in root.parts) if pair]
        if len(pairs) == len(root.parts):
            return family(root.index, [p[0] for p in pairs]), family(
                root.index, [p[1] for p in pairs]
            )
    return _cut_product(root, place) if root.kind is Kind.PRODUCT else None


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
    return total([chosen(product(rest), head, value) for value in range(head.size)])


def chosen(axis: Axis, index: Axis, value: int) -> Axis:
    """Return the axis with families over ``index`` replaced by their member at ``value``."""
    root = find(axis)
    if root.kind is Kind.FAMILY and root.index is not None and find(root.index) is find(index):
        return chosen(root.parts[value], index, value)
    if not root.parts:
        return root
    parts = [chosen(part, index, value) for part in root.parts]
    if root.kind is Kind.FAMILY and root.index is not None:
        return family(root.index, parts)
    return product(parts) if root.kind is Kind.PRODUCT else total(parts)


def regroup(
    axes: Sequence[Axis],
    shape: Sequence[int],
    why: str,
    made: Callable[[int, Sequence[Axis]], None] | None = None,
) -> tuple[Axis, ...]:
    """Return the axes of a tensor read under another shape, row-major as ``view`` does.

    Neighbouring axes whose sizes have equal products form a group; a group whose sizes do not
    divide is pinned with the reason ``why``. ``made`` is told the place of the first output
    axis of a group and the group's output axes.
    """
    result: list[Axis] = []
    ins, outs = list(axes), list(shape)
    while ins or outs:
        old, new = _group(ins, outs)
        parts = [factor for axis in old for factor in factors(axis)]
        grouped = _distribute(parts, new)
        if grouped is None:
            for axis in old:
                pin(axis, why)
            grouped = [leaf(size, why) for size in new]
        if made is not None:
            made(len(result), grouped)
        result.extend(grouped)
    return tuple(result)


def _group(ins: list[Axis], outs: list[int]) -> tuple[list[Axis], list[int]]:
    """Take from both lists the shortest beginnings with equal products."""
    old, new = ([ins.pop(0)] if ins else []), ([outs.pop(0)] if outs else [])
    left, right = prod(a.size for a in old), prod(new)
    while left != right:
        if left < right:
            old.append(ins.pop(0))
            left *= old[-1].size
        else:
            new.append(outs.pop(0))
            right *= new[-1]
    return old, new


def _distribute(parts: list[Axis], sizes: Sequence[int]) -> list[Axis] | None:
    result = []
    for size in sizes:
        if size == 1:
            result.append(ONE)
            continue
        found = take(parts, size)
        if found is None:
            return None
        result.append(product(found[0]))
        parts = found[1]
    return result
