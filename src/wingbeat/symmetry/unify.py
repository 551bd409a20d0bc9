"""Making two axes one: what follows when an operation pairs them entry by entry.

Two structures have to be split until they agree, and a split concatenation ties what its parts
share: so `unify` and `split` need each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wingbeat.symmetry.axes import (
    ONE,
    Axis,
    AxisKind,
    factors,
    family,
    find_root,
    is_wild,
    leaf,
    leaves,
    pin,
    product,
    segments,
    total,
    wild,
)
from wingbeat.symmetry.cut import cut

Parts = Callable[[Axis], list[Axis]]
Divided = Callable[[Axis, int], tuple[Axis, Axis] | None]


def unify(a: Axis, b: Axis, why: str) -> Axis:
    """Tie two axes of equal size entry by entry and return the common one.

    Structure of either side is carried over to the other; where the two structures have no
    common refinement, both are pinned with the reason ``why``. A wild axis ties nothing.

    >>> from wingbeat.symmetry.axes import product
    >>> h, d, flat = leaf(2), leaf(3), leaf(6)
    >>> unify(product([h, d]), flat, "add").size
    6
    >>> factors(flat) == [h, d]
    True
    """
    a, b = find_root(a), find_root(b)
    if a is b:
        return a
    if a.size == 1:
        return ONE
    if AxisKind.WILD in (a.kind, b.kind):
        return b if a.kind is AxisKind.WILD else a
    kinds = {a.kind, b.kind}
    if AxisKind.FAMILY in kinds:
        return _families(a, b, why)
    if AxisKind.LEAF in kinds:
        return _leaf(a, b, why)
    return _sums(a, b, why) if AxisKind.SUM in kinds else _products(a, b, why)


def tamed(axis: Axis) -> Axis:
    """Return the axis with every wild part replaced by a new leaf."""
    root = find_root(axis)
    if root.kind is AxisKind.WILD:
        return leaf(root.size)
    if not is_wild(root):
        return root
    parts = [tamed(part) for part in root.parts]
    if root.kind is AxisKind.FAMILY and root.index is not None:
        return family(root.index, parts)
    return product(parts) if root.kind is AxisKind.PRODUCT else total(parts)


def collapsed(axis: Axis) -> Axis:
    """Return one axis for all members of a family, which from now on move together."""
    root = find_root(axis)
    if root.kind is not AxisKind.FAMILY:
        return root
    first = root.parts[0]
    for member in root.parts[1:]:
        first = unify(first, member, "parts of one tensor that is used as a whole")
    return find_root(first)


def _leaf(a: Axis, b: Axis, why: str) -> Axis:
    if a.kind is b.kind:
        return _join(a, b)
    return _adopt(a, b, why) if a.kind is AxisKind.LEAF else _adopt(b, a, why)


def _join(a: Axis, b: Axis) -> Axis:
    root, other = (a, b) if (not a.is_index, a.serial) < (not b.is_index, b.serial) else (b, a)
    root.reason = root.reason or other.reason
    root.origins |= other.origins
    root.is_index = root.is_index or other.is_index
    other.forward = root
    return root


def _adopt(old: Axis, tree: Axis, why: str) -> Axis:
    """Let a leaf become a tree."""
    tree = tamed(tree)
    if any(found is old for found in leaves(tree)):
        pin(tree, why)
        return tree
    if old.reason:
        pin(tree, old.reason)
    old.forward = tree
    return find_root(tree)


def _families(a: Axis, b: Axis, why: str) -> Axis:
    same = a.kind is b.kind and a.index is not None and b.index is not None
    if (
        same
        and a.index is not None
        and b.index is not None
        and find_root(a.index) is find_root(b.index)
    ):
        return family(a.index, [unify(x, y, why) for x, y in zip(a.parts, b.parts, strict=True)])
    return unify(collapsed(a), collapsed(b), why)


def _products(a: Axis, b: Axis, why: str) -> Axis:
    """Unify two lists of factors."""
    common = _walked(a, b, why, factors, split)
    return _give_up(a, b, why) if common is None else product(common)


def _sums(a: Axis, b: Axis, why: str) -> Axis:
    """Unify two lists of segments."""
    common = _walked(a, b, why, segments, cut)
    return _give_up(a, b, why) if common is None else total(common)


def _walked(a: Axis, b: Axis, why: str, parts: Parts, divided: Divided) -> list[Axis] | None:
    """Walk over the parts of both and divide the larger where they differ; None if it cannot be."""
    left, right = parts(a), parts(b)
    common: list[Axis] = []
    while left and right:
        x, y = first(left, parts), first(right, parts)
        if x.size > y.size:
            x, y, left, right = y, x, right, left
        if x.size != y.size:
            halves = divided(y, x.size)
            if halves is None:
                return None
            y = halves[0]
            right[:0] = parts(halves[1])
        common.append(unify(x, y, why))
    return common


def _give_up(a: Axis, b: Axis, why: str) -> Axis:
    pin(a, why)
    pin(b, why)
    return leaf(a.size, why)


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
    root = find_root(axis)
    if root.size % outer:
        return None
    inner = root.size // outer
    if root.kind is AxisKind.LEAF:
        halves = leaf(outer, root.reason), leaf(inner, root.reason)
        root.forward = product(halves)
        return halves
    if root.kind is AxisKind.WILD:
        return wild(outer), wild(inner)
    if root.kind is AxisKind.PRODUCT:
        found = take(factors(root), outer)
        return (product(found[0]), product(found[1])) if found else None
    return _split_sum(root, inner) if root.kind is AxisKind.SUM else _split_family(root, outer)


def _split_sum(root: Axis, inner: int) -> tuple[Axis, Axis] | None:
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


def broadcast(
    operands: Sequence[Sequence[Axis]], shape: Sequence[int], why: str
) -> tuple[Axis, ...]:
    """Return the axes of an elementwise result: equal axes are tied, axes of size one stretch."""
    result = []
    for place in range(-len(shape), 0):
        axis: Axis | None = None
        for operand in operands:
            if len(operand) < -place or operand[place].size != shape[place]:
                continue
            axis = operand[place] if axis is None else unify(axis, operand[place], why)
        result.append(ONE if axis is None else find_root(axis))
    return tuple(result)
