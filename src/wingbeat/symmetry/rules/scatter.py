"""Adding or writing to parts of a tensor: slices, single entries, entries by position."""

from __future__ import annotations

import torch
from torch.fx import Node

from wingbeat.symmetry.axes import ONE, is_wild, total, wild
from wingbeat.symmetry.calls import Axes, Call, Value, place_of
from wingbeat.symmetry.rules.registry import rule
from wingbeat.symmetry.rules.selection import pieces
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


@rule("copy")
def copy(call: Call) -> Value:
    """The source in the shape of what it is written to, of which nothing is left."""
    source = call.axes("src")
    lead: Axes = (ONE,) * (len(call.shape) - len(source))
    return tuple(
        axis if axis.size == size else wild(size)
        for axis, size in zip((*lead, *source), call.shape, strict=True)
    )


@rule("slice_scatter")
def slice_scatter(call: Call) -> Value:
    """A stretch of an axis is replaced: what lies before and after it stays."""
    axes, source = call.axes("self"), call.axes("src")
    dim = place_of(int(call.arg("dim") or 0), len(axes))
    size, length = axes[dim].size, source[dim].size
    if int(call.arg("step") or 1) != 1:
        return _moved(call, dim, axes, [source])
    start = min(max(place_of(int(call.arg("start") or 0), size), 0), size)
    before, _, after = pieces(call, axes, dim, [start, length, size - start - length])
    flat = [tuple(ONE if p == dim else a for p, a in enumerate(t)) for t in (axes, source)]
    shape = tuple(1 if p == dim else n for p, n in enumerate(call.shape))
    common = list(broadcast(flat, shape, call.why))
    common[dim] = total([before[dim], source[dim], after[dim]])
    return tuple(common)


@rule("select_scatter")
def select_scatter(call: Call) -> Value:
    """One entry of an axis is replaced; the entries before and after it stay among themselves."""
    axes, source = call.axes("self"), call.axes("src")
    dim = place_of(int(call.arg("dim")), len(axes))
    rest, shape = axes[:dim] + axes[dim + 1 :], call.shape[:dim] + call.shape[dim + 1 :]
    common = broadcast([rest, source], shape, call.why)
    size, place = axes[dim].size, place_of(int(call.arg("index")), axes[dim].size)
    if is_wild(axes[dim]):  # made to be filled, one entry after the other
        return (*common[:dim], call.pinned(size), *common[dim:])
    before, _, after = pieces(call, axes, dim, [place, 1, size - place - 1])
    return (*common[:dim], total([before[dim], ONE, after[dim]]), *common[dim:])


@rule("index_put", "_unsafe_index_put")
def index_put(call: Call) -> Value:
    """Entries by position are replaced or added to: indexed axes are pinned, the others tied."""
    axes, given = call.axes("self"), call.tensors("indices")
    nodes, values = list(call.arg("indices")), call.axes("values")
    places = [place for place, node in enumerate(nodes) if node is not None]
    keys = [axes_of for axes_of in given if axes_of is not None]
    if places == [0] and len(keys) == 1 and _is_mask(nodes[0]):
        return _masked(call, axes, keys[0], values)
    if len(keys) < len(places) or any(_is_mask(nodes[place]) for place in places):
        return call.give_up()
    call.pin([axes[place] for place in places])
    rest = [axis for place, axis in enumerate(axes) if place not in places]
    adjacent = places == list(range(places[0], places[-1] + 1))
    front, wide = places[0] if adjacent else 0, max(len(key) for key in keys)
    beside = (ONE,) * (len(rest) + wide - len(values)) + values
    call.pin([*(a for key in keys for a in key), *beside[front : front + wide]])
    own = beside[:front] + beside[front + wide :]
    tied = iter(broadcast([tuple(rest), own], [axis.size for axis in rest], call.why))
    return tuple(
        call.pinned(axis.size) if place in places else next(tied) for place, axis in enumerate(axes)
    )


def _is_mask(node: object) -> bool:
    value = node.meta.get("val") if isinstance(node, Node) else None
    return isinstance(value, torch.Tensor) and value.dtype in (torch.bool, torch.uint8)


def _masked(call: Call, axes: Axes, mask: Axes, values: Axes) -> Value:
    """A mask over the leading axes: one value for all that it chooses, or one for each place."""
    if any(axis.size > 1 for axis in values[:1]) and len(values) > len(axes) - len(mask):
        return call.give_up()  # a list of values, as many as the mask chooses
    lead = broadcast([axes[: len(mask)], mask], call.shape[: len(mask)], call.why)
    rest = broadcast([axes[len(mask) :], values], call.shape[len(mask) :], call.why)
    return (*lead, *rest)


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
