"""Joining tensors: end to end, stacked, and padded."""

from __future__ import annotations

from wingbeat.symmetry.axes import ONE, family, leaf, total, wild
from wingbeat.symmetry.calls import Call, Value, place_of
from wingbeat.symmetry.rules.registry import rule
from wingbeat.symmetry.unify import broadcast


@rule("cat", "concat", "concatenate")
def cat(call: Call) -> Value:
    """An ordered sum along one axis; the others are tied."""
    parts = [axes for axes in call.tensors("tensors") if axes is not None]
    parts = [axes for axes in parts if len(axes) == len(call.shape)]  # not the empty placeholder
    dim = place_of(int(call.arg("dim") or 0), len(call.shape))
    shape = tuple(1 if place == dim else n for place, n in enumerate(call.shape))
    flat = [tuple(ONE if p == dim else a for p, a in enumerate(axes)) for axes in parts]
    common = list(broadcast(flat, shape, call.why))
    common[dim] = total([axes[dim] for axes in parts])
    return tuple(common)


@rule("stack")
def stack(call: Call) -> Value:
    """A new index axis, over which every other axis is a family."""
    parts = [axes for axes in call.tensors("tensors") if axes is not None]
    dim = place_of(int(call.arg("dim") or 0), len(call.shape))
    index = leaf(len(parts), call.why)
    if index is ONE:
        return (*parts[0][:dim], ONE, *parts[0][dim:])
    index.is_index = True
    members = [family(index, column) for column in zip(*parts, strict=True)]
    return (*members[:dim], index, *members[dim:])


@rule("constant_pad_nd", "pad")
def pad(call: Call) -> Value:
    """Constant entries around an axis; they tie nothing."""
    axes, widths = list(call.axes("self")), [int(n) for n in call.arg("pad")]
    if call.arg("mode") not in {None, "constant"} or min(widths) < 0:
        return call.give_up()
    for step, (left, right) in enumerate(zip(widths[::2], widths[1::2], strict=True)):
        place = len(axes) - 1 - step
        if left or right:
            axes[place] = total([wild(left), axes[place], wild(right)])
    return tuple(axes)
