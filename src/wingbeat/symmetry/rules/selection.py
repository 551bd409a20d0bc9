"""Taking entries: slices, single entries, pieces, and indexing by tensors."""

from __future__ import annotations

from collections.abc import Sequence

from wingbeat.symmetry.axes import ONE, Axis, AxisKind, find_root
from wingbeat.symmetry.calls import Axes, Call, Value, place_of
from wingbeat.symmetry.cut import cut, select_index
from wingbeat.symmetry.rules.registry import rule
from wingbeat.symmetry.unify import broadcast, unify


def pieces(call: Call, axes: Axes, dim: int, sizes: Sequence[int]) -> list[Axes]:
    """Return the tensors that an axis is cut into; entries of the axis stay in their piece."""
    dim = place_of(dim, len(axes))
    if find_root(axes[dim]).is_index and all(size == 1 for size in sizes):
        return [_at(axes, dim, value, keep=True) for value in range(len(sizes))]
    rest: Axis = axes[dim]
    found: list[Axis] = []
    for size in sizes:
        piece, rest = _cut(call, rest, size)
        found.append(piece)
    return [(*axes[:dim], piece, *axes[dim + 1 :]) for piece in found]


def _cut(call: Call, axis: Axis, size: int) -> tuple[Axis, Axis]:
    """Cut after ``size`` entries, or pin where the axis hangs together."""
    if size == axis.size:
        return axis, call.pinned(0)
    if size == 0:
        return call.pinned(0), axis
    halves = cut(axis, size)
    if halves is None:
        call.pin([axis])
        return call.pinned(size), call.pinned(axis.size - size)
    return halves


def _at(axes: Axes, dim: int, value: int, *, keep: bool) -> Axes:
    """Return the axes of one slice along an index leaf."""
    rest = [ONE if place == dim else axis for place, axis in enumerate(axes)]
    slices = tuple(select_index(axis, axes[dim], value) for axis in rest)
    return slices if keep else slices[:dim] + slices[dim + 1 :]


@rule("slice", "narrow", "slice_copy")
def sliced(call: Call) -> Value:
    """A stretch of an axis; with a step it is pinned."""
    axes = call.axes("self")
    dim = place_of(int(call.arg("dim") or 0), len(axes))
    size, step = axes[dim].size, int(call.arg("step") or 1)
    start = call.arg("start")
    start = min(place_of(int(start or 0), size), size)
    length = call.shape[dim]
    if step != 1:
        call.pin([axes[dim]])
        return (*axes[:dim], call.pinned(length), *axes[dim + 1 :])
    if find_root(axes[dim]).is_index and length == 1:
        return _at(axes, dim, start, keep=True)
    return pieces(call, axes, dim, [start, length, size - start - length])[1]


@rule("select", "select_copy")
def select(call: Call) -> Value:
    """One entry of an axis."""
    axes = call.axes("self")
    dim = place_of(int(call.arg("dim")), len(axes))
    return _one(call, axes, dim, place_of(int(call.arg("index")), axes[dim].size))


def _one(call: Call, axes: Axes, dim: int, value: int) -> Axes:
    root = find_root(axes[dim])
    if root.is_index:
        return _at(axes, dim, value, keep=False)
    call.notes.indexed |= root.origins
    if root.kind is not AxisKind.LEAF or not root.reason:
        pieces(call, axes, dim, [value, 1, root.size - value - 1])
    return axes[:dim] + axes[dim + 1 :]


@rule("unbind", "unbind_copy")
def unbind(call: Call) -> Value:
    """Every entry of an axis."""
    axes = call.axes("self")
    dim = place_of(int(call.arg("dim") or 0), len(axes))
    return [_one(call, axes, dim, value) for value in range(axes[dim].size)]


@rule("split", "split_with_sizes", "chunk", "tensor_split", "split_copy", "unsafe_split")
@rule("split_with_sizes_copy", "unsafe_chunk")
def split(call: Call) -> Value:
    """Pieces of an axis."""
    axes = call.axes("self")
    dim = place_of(int(call.arg("dim") or 0), len(axes))
    sizes = [shape[dim] for shape in call.shapes]
    if all(size == 1 for size in sizes):
        call.notes.indexed |= find_root(axes[dim]).origins
    return list(pieces(call, axes, dim, sizes))


@rule("index", "_unsafe_index")
def index(call: Call) -> Value:
    """Entries by position, given as tensors: indexed axes are pinned, the others are kept."""
    axes, given = call.axes("self"), call.tensors("indices")
    nodes = list(call.arg("indices"))
    places = [place for place, node in enumerate(nodes) if node is not None]
    keys = [axes_of for axes_of in given if axes_of is not None]
    call.pin([axes[place] for place in places])
    rest = [axis for place, axis in enumerate(axes) if place not in places]
    wide = len(call.shape) - len(rest)
    adjacent = places == list(range(places[0], places[-1] + 1))
    front = places[0] if adjacent else 0
    if len(keys) < len(places) or wide < 0:
        return call.give_up()
    chosen_axes = broadcast(keys, call.shape[front : front + wide], call.why)
    return (*rest[:front], *chosen_axes, *rest[front:])


@rule("index_select")
def index_select(call: Call) -> Value:
    """Entries of one axis by position."""
    axes, keys = call.axes("self"), call.axes("index")
    dim = place_of(int(call.arg("dim")), len(axes))
    call.pin([axes[dim]])
    return (*axes[:dim], *(keys or (ONE,)), *axes[dim + 1 :])


@rule("gather", "take_along_dim")
def gather(call: Call) -> Value:
    """Entries of one axis by position, the positions given for every entry of the others."""
    axes, keys = call.axes("self"), call.axes("index", "indices")
    dim = place_of(int(call.arg("dim")), len(axes))
    call.pin([axes[dim]])
    smaller = [p for p in range(len(axes)) if p != dim and axes[p].size != keys[p].size]
    call.pin([axes[p] for p in smaller] + [keys[p] for p in smaller])
    return tuple(
        keys[p] if p == dim or p in smaller else unify(axes[p], keys[p], call.why)
        for p in range(len(axes))
    )
