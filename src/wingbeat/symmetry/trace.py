"""From an exported graph to the axes of every tensor in it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from operator import getitem

import torch
from torch import nn
from torch.fx import Node

from wingbeat.symmetry.axes import Axis, AxisKind, find_root, is_wild, leaves, pin
from wingbeat.symmetry.calls import Axes, Call, Notes, Value
from wingbeat.symmetry.in_place import bases, mutated, without_writes, writes_to_view
from wingbeat.symmetry.placeholders import placeholders
from wingbeat.symmetry.rules import RULES
from wingbeat.symmetry.rules.elementwise import elementwise
from wingbeat.symmetry.unify import collapsed


@dataclass
class TracedGraph:
    """Axes of every tensor of a graph.

    Attributes:
        program: the graph that was traced.
        parameters: axes by name in the state dict; tied names share their axes.
        tensors: axes of every tensor of the graph, by node name.
        notes: what the rules learned beside.
    """

    program: torch.export.ExportedProgram
    parameters: dict[str, Axes] = field(default_factory=dict)
    tensors: dict[str, list[Axes]] = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)

    def everything(self) -> list[Axes]:
        """Return the axes of all tensors, those hidden inside operations too."""
        seen = [axes for found in self.tensors.values() for axes in found]
        return [*seen, *self.notes.hidden, *self.parameters.values()]

    @property
    def freedom(self) -> int:
        """Count of entries of free axes of parameters."""
        free = {id(f): f for axes in self.parameters.values() for a in axes for f in leaves(a)}
        return sum(axis.size for axis in free.values() if not axis.reason)


def traced(program: torch.export.ExportedProgram, model: nn.Module) -> TracedGraph:
    """Return the axes of a graph, of its decomposed form where that leaves more of them free."""
    program = without_writes(program)
    first = _twice(program, model)
    if not first.notes.unknown:
        return first
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plain = program.run_decompositions()
    except Exception:  # some models cannot be decomposed: the first graph is valid
        return first
    second = _twice(plain, model)
    return second if second.freedom > first.freedom else first


def _twice(program: torch.export.ExportedProgram, model: nn.Module) -> TracedGraph:
    """Trace, and once more with index leaves where single entries of a reshape were taken."""
    known: frozenset[tuple[str, int]] = frozenset()
    while True:
        trace = _walk(program, model, known)
        found = known | trace.notes.indexed
        if found == known:
            _settle(trace)
            return trace
        known = found


def _walk(
    program: torch.export.ExportedProgram, model: nn.Module, known: frozenset[tuple[str, int]]
) -> TracedGraph:
    parameters, values = placeholders(program, model)
    trace = TracedGraph(program, parameters)
    for node in program.graph.nodes:
        if node.op == "call_function":
            values[node] = _call(node, values, trace.notes, known)
        elif node.op == "output":
            for source in node.all_input_nodes:
                for axes in tensors(values.get(source)):
                    for axis in axes:
                        pin(axis, "output")
        trace.tensors[node.name] = tensors(values.get(node))
    return trace


def tensors(value: Value) -> list[Axes]:
    """Return the axes of every tensor in a value."""
    if isinstance(value, list):
        return [axes for part in value for axes in tensors(part)]
    return [] if value is None else [value]


def _call(
    node: Node, values: dict[Node, Value], notes: Notes, known: frozenset[tuple[str, int]]
) -> Value:
    if node.target is getitem:
        source = values.get(node.args[0])  # type: ignore[arg-type]
        place = node.args[1]
        return source[place] if isinstance(source, list) and isinstance(place, int) else None
    call = Call(node, operation(node), values, notes, known)
    found = RULES.get(call.name)
    if found is None and torch.Tag.pointwise in getattr(node.target, "tags", ()):
        found = elementwise
    target = mutated(node)
    if target is not None and writes_to_view(node):
        _spoil([target, *bases(target)], values, call)
        return call.give_up()
    if found is None or (target is not None and found is not elementwise):
        return call.give_up()
    try:
        value = found(call)
    except LookupError:
        return call.give_up()
    if target is not None:
        _written(target, values, value, call)
    return value


def operation(node: Node) -> str:
    """Return an operation's name without namespace, overload and in-place underscore."""
    name = str(getattr(node.target, "_opname", getattr(node.target, "__name__", node.target)))
    return name if name.startswith("__") else name.removesuffix("_")


def _spoil(nodes: list[Node], values: dict[Node, Value], call: Call) -> None:
    """Fix tensors that are written to in a way that cannot be followed."""
    for node in nodes:
        for axes in tensors(values.get(node)):
            call.pin(axes)
        found = values.get(node)
        if isinstance(found, tuple):
            values[node] = tuple(call.pinned(axis.size) for axis in found)


def _written(target: Node, values: dict[Node, Value], value: Value, call: Call) -> None:
    """A tensor that was constant may no longer be: what was wild is pinned."""
    before = values.get(target)
    if isinstance(before, tuple) and isinstance(value, tuple):
        if any(is_wild(axis) for axis in before):
            call.pin(value)
        values[target] = value


def _settle(trace: TracedGraph) -> None:
    """Collapse families whose index is not an axis of the same tensor."""
    changed = True
    while changed:
        changed = False
        for axes in trace.everything():
            present = {id(f) for axis in axes for f in _nodes(axis) if f.is_index}
            for axis in axes:
                for node in _nodes(axis):
                    if node.kind is not AxisKind.FAMILY or node.index is None:
                        continue
                    if id(find_root(node.index)) not in present and _differ(node):
                        collapsed(node)
                        changed = True


def _differ(node: Axis) -> bool:
    return len({id(find_root(member)) for member in node.parts}) > 1


def _nodes(axis: Axis) -> list[Axis]:
    """Return all nodes of a tree but the index leaves of its families."""
    root = find_root(axis)
    return [root, *(node for part in root.parts for node in _nodes(part))]
