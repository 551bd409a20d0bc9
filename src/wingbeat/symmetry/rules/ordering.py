"""Operations whose result depends on the order along an axis: that axis is pinned."""

from __future__ import annotations

from wingbeat.symmetry.calls import Call, Value, places_of
from wingbeat.symmetry.rules.registry import rule


@rule("cumsum", "cumprod", "diff", "sort", "argsort", "flip", "roll", "topk", "logcumsumexp")
@rule("argmax", "argmin")
def ordered(call: Call) -> Value:
    """Pin the axis; the result has a fixed axis of its own there."""
    axes = call.axes("self")
    places = places_of(call.arg("dim", "dims"), len(axes))
    if call.name in {"argmax", "argmin"} or any(len(s) != len(axes) for s in call.shapes):
        return call.give_up()
    call.pin([axes[place] for place in places])
    made: list[Value] = [
        tuple(call.pinned(n) if p in places else axes[p] for p, n in enumerate(shape))
        for shape in call.shapes
    ]
    return made if isinstance(call.node.meta["val"], (tuple, list)) else made[0]


@rule("tril", "triu")
def triangle(call: Call) -> Value:
    """Entries are set to zero by their place in the last two axes."""
    axes = call.axes("self")
    call.pin(axes[-2:])
    return (*axes[:-2], *(call.pinned(axis.size) for axis in axes[-2:]))
