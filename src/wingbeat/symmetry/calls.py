"""One operation of an exported graph as the rules see it: arguments by name, axes for tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.fx import Node

from wingbeat.symmetry.axes import Axis, leaf, pin

Axes = tuple[Axis, ...]
Value = Axes | list["Value"] | None
"""Axes of a tensor, a list for several tensors, None for what is no tensor."""
Rule = Callable[["Call"], Value]


@dataclass
class Notes:
    """What the rules learn on the way through a graph, beside the axes of its tensors.

    Attributes:
        hidden: axes of tensors that a fused operation makes inside (statistics, attention
            weights); they limit which permutations may depend on which.
        contracted: nodes along an axis of which an operation sums.
        indexed: reshapes (node, output axis) that made an axis of which single entries were
            taken: candidates for an index leaf.
        unknown: operations without a rule.
    """

    hidden: list[Axes] = field(default_factory=list)
    contracted: list[str] = field(default_factory=list)
    indexed: set[tuple[str, int]] = field(default_factory=set)
    unknown: list[str] = field(default_factory=list)


@dataclass
class Call:
    """An operation with its arguments bound to the names of its schema.

    Attributes:
        node: the node of the graph.
        name: operation without namespace, overload and trailing underscore.
        values: axes of every earlier node, by node.
        notes: where rules leave what they learn.
        index_axes: reshapes whose output axis is an index leaf (second pass).
    """

    node: Node
    name: str
    values: dict[Node, Value]
    notes: Notes
    index_axes: frozenset[tuple[str, int]] = frozenset()

    def __post_init__(self) -> None:
        self.bound: dict[str, Any] = {}
        schema = getattr(self.node.target, "_schema", None)
        if schema is None:
            return
        for place, argument in enumerate(schema.arguments):
            default = argument.default_value if argument.has_default_value() else None
            given = self.node.args[place] if place < len(self.node.args) else default
            self.bound[argument.name] = self.node.kwargs.get(argument.name, given)

    @property
    def why(self) -> str:
        """The operation as named in ``blocked``."""
        return f"{self.name} ({self.node.name})"

    @property
    def overload(self) -> str:
        """Name of the overload, such as ``dtype`` in ``view.dtype``."""
        return str(getattr(self.node.target, "_overloadname", ""))

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of all results."""
        found = self.node.meta.get("val")
        results = found if isinstance(found, (tuple, list)) else [found]
        return [tuple(int(n) for n in r.shape) for r in results if isinstance(r, torch.Tensor)]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return self.shapes[0]

    def arg(self, *names: str) -> Any:
        """Return the first argument of these names that the schema has, as written."""
        return next((self.bound[name] for name in names if name in self.bound), None)

    def tensor(self, *names: str) -> Axes | None:
        """Return the axes of a tensor argument, None if it is absent."""
        found = self.arg(*names)
        value = self.values.get(found) if isinstance(found, Node) else None
        return value if isinstance(value, tuple) else None

    def axes(self, *names: str) -> Axes:
        """Return the axes of a tensor argument that is always there.

        Raises:
            LookupError: it is not, or is no tensor; the operation then counts as unknown.
        """
        found = self.tensor(*names)
        if found is None:
            raise LookupError(names[0])
        return found

    def tensors(self, *names: str) -> list[Axes | None]:
        """Return the axes of a list of tensors, None where the list has None."""
        found = self.arg(*names)
        items = found if isinstance(found, (tuple, list)) else []
        values = [self.values.get(item) if isinstance(item, Node) else None for item in items]
        return [value if isinstance(value, tuple) else None for value in values]

    def inputs(self) -> list[Axes]:
        """Return the axes of all tensors that go in."""
        values = [self.values.get(node) for node in self.node.all_input_nodes]
        return [value for value in values if isinstance(value, tuple)]

    def pin(self, axes: Sequence[Axis]) -> None:
        """Fix axes with this operation as the reason."""
        for axis in axes:
            pin(axis, self.why)

    def pinned(self, size: int) -> Axis:
        """Return a new fixed axis of this operation's making.

        Never an axis of an input: two tensors with the same pinned axis say that their entries
        belong together, which an operation that mixes them does not keep.
        """
        return leaf(size, self.why)

    def hide(self, axes: Sequence[Axis]) -> None:
        """Register a tensor inside the operation."""
        self.notes.hidden.append(tuple(axes))

    def contracts(self, name: str) -> None:
        """Note that the operation sums along an axis of a named tensor argument."""
        found = self.arg(name)
        if isinstance(found, Node):
            self.notes.contracted.append(found.name)

    def give_up(self) -> Value:
        """Pin everything that goes in and out: the rule for what has no rule."""
        self.notes.unknown.append(self.name)
        for axes in self.inputs():
            self.pin(axes)
        found = self.node.meta.get("val")
        made: list[Value] = [tuple(self.pinned(n) for n in shape) for shape in self.shapes]
        return made if isinstance(found, (tuple, list)) else (made[0] if made else None)


def place_of(dim: int, dims: int) -> int:
    """Return an axis number counted from the front."""
    return dim + dims if dim < 0 else dim


def places_of(dim: object, dims: int) -> list[int]:
    """Return axis numbers for a dim argument: an int, a list, or None or [] for all."""
    if isinstance(dim, int):
        return [place_of(dim, dims)]
    chosen = [place_of(int(d), dims) for d in dim] if isinstance(dim, (tuple, list)) else []
    return sorted(chosen) or list(range(dims))
