"""The same entries under another shape: views, transposes, added and removed axes."""

from __future__ import annotations

from collections.abc import Sequence

from wingbeat.symmetry.axes import (
    ONE,
    Axis,
    AxisKind,
    factors,
    family,
    find_root,
    leaf,
    product,
    wild,
)
from wingbeat.symmetry.calls import Axes, Call, Value, place_of, places_of
from wingbeat.symmetry.reshape import regroup
from wingbeat.symmetry.rules.registry import rule


@rule("view", "reshape", "_unsafe_view", "flatten", "unflatten", "view_as", "reshape_as")
@rule("view_copy", "ravel")
def view(call: Call) -> Value:
    """Regroup the factors; the first pass remembers which leaves a reshape made."""
    if call.overload == "dtype":
        return call.give_up()

    def made(place: int, axes: Sequence[Axis]) -> None:
        _mark(call, place, axes)

    return regroup(call.axes("self"), call.shape, call.why, made)


def _mark(call: Call, place: int, axes: Sequence[Axis]) -> None:
    """Note the origin of new leaves, and make an index leaf of those that are known as such."""
    if len(axes) < 2:
        return
    for offset, axis in enumerate(axes):
        root, origin = find_root(axis), (call.node.name, place + offset)
        if root.kind is not AxisKind.LEAF:
            continue
        root.origins |= {origin}
        if origin in call.index_axes and not root.is_index:
            root.is_index = True
            root.reason = root.reason or f"index of {call.why}"
            for other in axes:
                if other is not axis:
                    _into_families(other, root)


def _into_families(axis: Axis, index: Axis) -> None:
    """Give every free leaf of an axis one member for each value of the index."""
    for factor in factors(axis):
        if factor.kind is AxisKind.LEAF and not factor.reason:
            members = [leaf(factor.size) for _ in range(index.size)]
            factor.forward = family(index, members)


@rule("permute", "permute_copy")
def permute(call: Call) -> Value:
    """Reorder the axes."""
    axes = call.axes("self")
    return tuple(axes[place] for place in call.arg("dims"))


@rule("transpose", "swapaxes", "swapdims")
def transpose(call: Call) -> Value:
    """Exchange two axes."""
    axes = list(call.axes("self"))
    one = int(call.arg("dim0", "axis0"))
    other = int(call.arg("dim1", "axis1"))
    if axes:
        axes[one], axes[other] = axes[other], axes[one]
    return tuple(axes)


@rule("t", "numpy_T", "mT", "adjoint", "matrix_H")
def flipped(call: Call) -> Value:
    """Exchange the last two axes, or reverse all."""
    axes = call.axes("self")
    if call.name in {"t", "numpy_T"} or len(axes) < 2:
        return axes[::-1]
    return (*axes[:-2], axes[-1], axes[-2])


@rule("movedim", "moveaxis")
def movedim(call: Call) -> Value:
    """Move axes to other places; the others keep their order."""
    axes = call.axes("self")
    source, target = call.arg("source"), call.arg("destination")
    places = [source] if isinstance(source, int) else list(source)
    targets = [target] if isinstance(target, int) else list(target)
    places = [place_of(p, len(axes)) for p in places]
    rest = [axis for place, axis in enumerate(axes) if place not in places]
    for goal, place in sorted(
        (place_of(t, len(axes)), p) for t, p in zip(targets, places, strict=True)
    ):
        rest.insert(goal, axes[place])
    return tuple(rest)


@rule("unsqueeze", "unsqueeze_copy")
def unsqueeze(call: Call) -> Value:
    """Add an axis of size one."""
    axes = list(call.axes("self"))
    axes.insert(place_of(int(call.arg("dim")), len(axes) + 1), ONE)
    return tuple(axes)


@rule("squeeze", "squeeze_copy")
def squeeze(call: Call) -> Value:
    """Remove axes of size one."""
    axes = call.axes("self")
    places = places_of(call.arg("dim"), len(axes))
    return tuple(a for place, a in enumerate(axes) if place not in places or a.size > 1)


@rule("expand", "expand_as", "broadcast_to", "expand_copy")
def expand(call: Call) -> Value:
    """Stretch axes of size one: the result is constant along them."""
    axes, shape = call.axes("self"), call.shape
    lead: Axes = (ONE,) * (len(shape) - len(axes))
    return tuple(
        axis if axis.size == size else wild(size)
        for axis, size in zip((*lead, *axes), shape, strict=True)
    )


@rule("repeat", "tile")
def repeat(call: Call) -> Value:
    """Lay copies end to end: the outer factor is constant."""
    axes, shape = call.axes("self"), call.shape
    lead: Axes = (ONE,) * (len(shape) - len(axes))
    return tuple(
        product([wild(size // axis.size), axis])
        for axis, size in zip((*lead, *axes), shape, strict=True)
    )


@rule("repeat_interleave")
def repeat_interleave(call: Call) -> Value:
    """Repeat every entry: the inner factor is constant."""
    axes = call.axes("self", "input")
    if call.overload != "self_int" or call.arg("dim") is None:
        return call.give_up()
    return tuple(
        product([axis, wild(size // axis.size)])
        for axis, size in zip(axes, call.shape, strict=True)
    )
