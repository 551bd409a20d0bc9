"""Adding or writing to entries by position: the axis of the positions is pinned."""

from __future__ import annotations

from wingbeat.symmetry.calls import Axes, Call, Value, place_of
from wingbeat.symmetry.rules.registry import rule
from wingbeat.symmetry.unify import broadcast


@rule("index_add", "index_copy", "index_reduce")
def index_add(call: Call) -> Value:
    """Whole slices of a source go to positions along one axis."""
    axes, source = call.axes("self"), call.axes("source")
    dim = place_of(int(call.arg("dim")), len(axes))
    call.pin(call.axes("index"))
    return _moved(call, dim, axes, [source])


@rule("scatter_add", "scatter_reduce", "scatter")
def scatter_add(call: Call) -> Value:
    """Single entries of a source go to positions along one axis, given for every entry."""
    axes, index, source = call.axes("self"), call.axes("index"), call.tensor("src")
    dim = place_of(int(call.arg("dim")), len(axes))
    return _moved(call, dim, axes, [index] if source is None else [index, source])


def _moved(call: Call, dim: int, axes: Axes, others: list[Axes]) -> Value:
    """Pin what lies along the axis; tie the other axes, or pin those of another size."""
    found = []
    for place, axis in enumerate(axes):
        beside = [other[place] for other in others]
        if place == dim or any(one.size != axis.size for one in beside):
            call.pin([axis, *beside])
            found.append(call.pinned(axis.size))
            continue
        tied = broadcast([(axis,), *((one,) for one in beside)], (axis.size,), call.why)
        found.append(tied[0])
    return tuple(found)
