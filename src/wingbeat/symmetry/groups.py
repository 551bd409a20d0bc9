"""Which leaves may be permuted, and which of them may be permuted separately inside others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from wingbeat.symmetry.axes import Axis, leaves
from wingbeat.symmetry.blocks import AxisBlock, blocks
from wingbeat.symmetry.trace import TracedGraph


@dataclass(frozen=True)
class Group:
    """Entries of weights that may be permuted among themselves without changing the function.

    Attributes:
        name: the first parameter axis that the group moves, as ``"fc1.weight:0"``; a part of an
            axis has a number appended, as ``"q.weight:0.1"`` for the inner part of heads.
        size: number of entries.
        parents: names of the groups (or fixed parts) inside of which the group has a separate
            permutation for every entry, outermost first: for the entries of attention heads the
            group of the heads.
        parent_sizes: number of entries of every parent.
        members: every (parameter, axis) that the group moves, wholly or in part.
        leaf: number of the leaf in the blocks of the specification.
    """

    name: str
    size: int
    parents: tuple[str, ...]
    parent_sizes: tuple[int, ...]
    members: tuple[tuple[str, int], ...]
    leaf: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the group's array in a permutation: parents first."""
        return (*self.parent_sizes, self.size)


@dataclass(frozen=True)
class Blocked:
    """An axis of a parameter that stays in place, or a part of one, and why.

    Attributes:
        parameter: name in the state dict.
        axis: of the parameter.
        size: number of entries of the axis, or of the part of it.
        reason: the operation that blocked it, as ``"cumsum (cumsum_1)"``; ``"input"`` and
            ``"output"`` for what the model takes and returns.
    """

    parameter: str
    axis: int
    size: int
    reason: str


def parameter_blocks(
    trace: TracedGraph, numbers: dict[int, int]
) -> dict[str, tuple[AxisBlock, ...]]:
    """Return the parts of every parameter."""
    return {name: blocks(axes, numbers) for name, axes in trace.parameters.items()}


def containing(trace: TracedGraph, numbers: dict[int, int]) -> dict[int, set[int]]:
    """Return for every leaf the leaves that every tensor with the first one has, exactly once.

    The permutation of a leaf may depend on such another leaf: no tensor, not even one hidden
    inside an operation, ever pairs its entries over different entries of the other.
    """
    found: dict[int, set[int]] = {}
    for axes in trace.everything():
        for block in blocks(axes, numbers):
            single = {n for n in block.leaves if n >= 0 and block.leaves.count(n) == 1}
            for number in set(block.leaves) - {-1}:
                others = single - {number}
                found[number] = found[number] & others if number in found else others
    return found


def groups_of(
    trace: TracedGraph, by_parameter: Mapping[str, Sequence[AxisBlock]], numbers: dict[int, int]
) -> tuple[Group, ...]:
    """Return the groups, outer ones before those inside them."""
    inside = containing(trace, numbers)
    free, sizes, members = _free(trace, numbers)
    ranks = _ranks(by_parameter)
    names = _names(trace, numbers)
    known = set(ranks)
    parents = {n: _parents(n, inside, ranks, known) for n in sizes}
    return tuple(
        Group(
            names[number],
            sizes[number],
            tuple(names[p] for p in parents[number]),
            tuple(sizes[p] for p in parents[number]),
            tuple(members[number]),
            number,
        )
        for number in sorted(free, key=lambda n: (len(parents[n]), ranks[n]))
    )


def _free(
    trace: TracedGraph, numbers: dict[int, int]
) -> tuple[set[int], dict[int, int], dict[int, list[tuple[str, int]]]]:
    """Return free leaves, and the size and the parameter axes of every leaf of a parameter."""
    free: set[int] = set()
    sizes: dict[int, int] = {}
    members: dict[int, list[tuple[str, int]]] = {}
    for name, axes in trace.parameters.items():
        for place, axis in enumerate(axes):
            for found in movable(axis):
                number = numbers[id(found)]
                sizes[number] = found.size
                if (name, place) not in members.setdefault(number, []):
                    members[number].append((name, place))
                if not found.reason:
                    free.add(number)
    return free, sizes, members


def movable(axis: Axis) -> list[Axis]:
    """Return the leaves of an axis but index leaves, which only choose a part."""
    return [found for found in leaves(axis) if not found.is_index]


def _ranks(by_parameter: Mapping[str, Sequence[AxisBlock]]) -> dict[int, int]:
    """Return the order in which leaves are met in the parameters: outer factors first."""
    ranks: dict[int, int] = {}
    for found in by_parameter.values():
        for block in found:
            for number in block.leaves:
                ranks.setdefault(number, len(ranks))
    return ranks


def _parents(
    number: int, inside: Mapping[int, set[int]], ranks: Mapping[int, int], known: Iterable[int]
) -> tuple[int, ...]:
    """Return the leaves that a leaf may depend on; of two that need each other, the outer."""
    found = [
        other
        for other in inside.get(number, set()) & set(known)
        if not (number in inside.get(other, set()) and ranks[other] > ranks[number])
    ]
    return tuple(sorted(found, key=lambda n: (len(inside.get(n, set())), ranks[n])))


def _names(trace: TracedGraph, numbers: dict[int, int]) -> dict[int, str]:
    """Name every leaf after the first axis it is met on, with its place where there are several."""
    names: dict[int, str] = {}
    for name, axes in trace.parameters.items():
        for place, axis in enumerate(axes):
            found = list(dict.fromkeys(numbers[id(leaf)] for leaf in movable(axis)))
            for part, number in enumerate(found):
                suffix = "" if len(found) == 1 else f".{part}"
                names.setdefault(number, f"{name}:{place}{suffix}")
    return names


def blocked_of(trace: TracedGraph) -> tuple[Blocked, ...]:
    """Return every axis of a parameter, or part of one, that is fixed, with the reason."""
    found: dict[tuple[str, int, str], int] = {}
    for name, axes in trace.parameters.items():
        for place, axis in enumerate(axes):
            fixed = {id(leaf): leaf for leaf in movable(axis) if leaf.reason}
            for leaf in fixed.values():
                key = (name, place, leaf.reason)
                found[key] = max(found.get(key, 0), leaf.size)
    return tuple(Blocked(n, place, size, why) for (n, place, why), size in found.items())


def leaf_numbers(trace: TracedGraph, numbers: dict[int, int]) -> dict[str, int]:
    """Return the number of every leaf of a parameter, by the name of its group or fixed part."""
    return {name: number for number, name in _names(trace, numbers).items()}
