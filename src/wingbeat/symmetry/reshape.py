"""Reading the same numbers under another shape, row-major as ``view`` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from wingbeat.symmetry.axes import (
    ONE,
    Axis,
    factors,
    leaf,
    pin,
    product,
)
from wingbeat.symmetry.unify import take


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
