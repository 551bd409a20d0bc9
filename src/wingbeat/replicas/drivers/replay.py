"""Replay a recording with little time between its operations.

A step of a small net is some eighty operations of a few microseconds, and to call one by its name
in torch's registry takes as long as what it computes; of a larger stack, fetching memory for each
result takes as long as filling it. Here what depends on shapes alone is made once, an operation is
called by torch's own function of Python where a trial shows that it runs this operation and nothing
else, and sums and products are written where a value lay that nobody needs any more. The operations
are the same on the same numbers, hence the bits.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from torch.fx import Graph, GraphModule, Node
from torch.utils._python_dispatch import TorchDispatchMode

from wingbeat.heap import USUAL, hold
from wingbeat.replicas.aliases import is_random, returned, writes, written
from wingbeat.replicas.drivers.marks import equal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

aten = torch.ops.aten
_LARGEST: Final = 1 << 22
"""Numbers in what a step takes, above which calling operations is no part of its time."""
_CONSTANT: Final = 1 << 16
"""Numbers in a value that is made once: more would be memory that nobody reckons with."""
_OF_SHAPES: Final = frozenset(
    (
        *(aten.zeros_like.default, aten.ones_like.default, aten.full_like.default),
        *(aten.new_zeros.default, aten.new_ones.default, aten.new_full.default),
    )
)
"""Operations that read nothing of a tensor but its shape and type."""
_OF_NUMBERS: Final = frozenset(
    (
        *(aten.scalar_tensor.default, aten.zeros.default, aten.ones.default, aten.full.default),
        *(aten.arange.default, aten.arange.start, aten.arange.start_step),
    )
)
"""Operations that make the same of the same numbers at every call."""
_METHODS: Final = ("view", "expand")
"""Operations that torch offers as a tensor's method only."""
_EXACT: Final = frozenset(
    ("add", "sub", "mul", "div", "sqrt", "neg", "abs", "relu", "maximum", "minimum", "where")
)
"""Operations number by number without a choice how to round, wherever the result is written."""


def replay(recorded: GraphModule, leaves: Sequence[Tensor]) -> Callable[..., list[Tensor]]:
    """Return a function that does what ``recorded.forward`` does.

    Large steps, and those of other devices than the processor, are left as they are. The
    recording is run once: what it draws is drawn.

    Args:
        recorded: a recording that returns a list of tensors.
        leaves: what it takes.

    >>> from wingbeat.tracing import trace
    >>> graph = trace(lambda x: [x + torch.ones(2)], torch.ones(2))
    >>> replay(graph, [torch.ones(2)])(torch.tensor([1.0, 2.0]))
    [tensor([2., 3.])]
    """
    small = sum(leaf.numel() for leaf in leaves) <= _LARGEST
    if not small or any(leaf.device.type != "cpu" for leaf in leaves):
        forward: Callable[..., list[Tensor]] = recorded.forward
        return forward
    # Else glibc may give what a step has freed back to the system, and clear it for the next one.
    hold(USUAL)
    return _Writer(recorded, leaves).function()


class _Writer:
    """Writes a recording anew, and runs it once on the way."""

    def __init__(self, recorded: GraphModule, leaves: Sequence[Tensor]) -> None:
        self._recorded, self._leaves = recorded, iter(leaves)
        self._others = {_place(leaf) for leaf in leaves}  # memory that is not the step's own
        self._nodes: list[Node] = list(recorded.graph.nodes)
        self._last = {arg: node for node in self._nodes for arg in node.all_input_nodes}
        self._apart = written(recorded.graph) | returned(recorded.graph)
        self._values: dict[Node, Any] = {}
        self._graph, self._new = Graph(), dict[Node, Node]()
        self._constants: dict[str, Any] = {}
        self._constant_nodes: set[Node] = set()

    def function(self) -> Callable[..., list[Tensor]]:
        """Return the function."""
        for node in self._nodes:
            self._write(node)
            for arg in node.all_input_nodes:
                if self._last[arg] is node:
                    self._values.pop(arg, None)
        made = GraphModule(dict(self._constants), self._graph)
        # Found at once: what a module has registered it looks for in several places.
        vars(made).update(self._constants)
        program: Callable[..., list[Tensor]] = made.forward
        return program

    def _write(self, node: Node) -> None:
        if node.op == "output":
            self._graph.output(self._there(node.args[0]))
        elif node.op == "placeholder":
            self._values[node] = next(self._leaves)
            self._new[node] = self._graph.placeholder(node.name)
        elif node.op == "get_attr":
            self._hold(node, operator.attrgetter(str(node.target))(self._recorded))
        else:
            self._call(node)

    def _call(self, node: Node) -> None:
        args, kwargs = self._given(node.args), self._given(node.kwargs)
        function, value = _tried(node, args, kwargs)
        if self._is_constant(node, value):
            self._hold(node, value)
            return
        there, named = self._there(node.args), self._there(node.kwargs)
        over = None if kwargs else self._over(node, value)
        way = over and _into(node, over, args, self._values[over], value)
        self._values[node] = value
        if way == "in place" or (function is not node.target and _name(node) in _METHODS):
            name = _name(node) + ("_" if way else "")
            self._new[node] = self._graph.call_method(name, there, named)
            return
        if way and over:
            function, named = getattr(torch, _name(node)), {"out": self._new[over]}
        self._new[node] = self._graph.call_function(function, there, named)

    def _over(self, node: Node, value: Any) -> Node | None:
        """Return an argument that nobody needs any more, and whose memory fits a result."""
        if _name(node) not in _EXACT or not isinstance(value, torch.Tensor):
            return None
        for arg in dict.fromkeys(node.all_input_nodes):
            own = self._values[arg]
            made_here = arg.op == "call_function" and arg not in self._constant_nodes
            if made_here and self._last[arg] is node and _alike_in_memory(own, value):
                place = _place(own)
                alive = sum(_lies_at(place, v) for v in self._values.values())
                if alive == 1 and place not in self._others:
                    return arg
        return None

    def _hold(self, node: Node, value: Any) -> None:
        """Keep a value as a constant."""
        name = f"constant_{len(self._constants)}"
        self._values[node] = self._constants[name] = value
        self._others |= {_place(value)} if isinstance(value, torch.Tensor) else set()
        self._constant_nodes.add(node)
        self._new[node] = self._graph.get_attr(name)

    def _is_constant(self, node: Node, value: Any) -> bool:
        """Tell whether a value is the same at every call, and nobody's to write into."""
        if node in self._apart or not isinstance(value, torch.Tensor):
            return False
        made_once = node.target in _OF_NUMBERS or node.target in _OF_SHAPES
        return made_once and value.numel() <= _CONSTANT

    def _given(self, found: Any) -> Any:
        """Return arguments with values in place of nodes."""
        return _mapped(found, self._values)

    def _there(self, found: Any) -> Any:
        """Return arguments with the new nodes in place of the recording's."""
        return _mapped(found, self._new)


def _mapped(found: Any, things: Mapping[Node, Any]) -> Any:
    if isinstance(found, Node):
        return things[found]
    if isinstance(found, dict):
        return {name: _mapped(a, things) for name, a in found.items()}
    if isinstance(found, (list, tuple)):
        return type(found)(_mapped(a, things) for a in found)
    return found


class _Spy(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operations that a call is made of."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.met: list[tuple[Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note an operation and run it."""
        self.met.append((func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))


def _tried(node: Node, args: list[Any], kwargs: dict[str, Any]) -> tuple[Callable[..., Any], Any]:
    """Return the quickest way to call an operation that runs it alone, and what it returns."""
    target: Any = node.target
    quick = _quick(node)
    if quick is None or is_random(node) or writes(node):
        return target, target(*args, **kwargs)
    spy = _Spy()
    try:
        with spy:
            value = quick(*args, **kwargs)
    except (TypeError, RuntimeError, IndexError, ValueError):  # it takes other arguments
        return target, target(*args, **kwargs)
    met, *others = spy.met or [(None, (), {})]
    same = not others and met[0] is target and _alike(met[1:], (args, kwargs))
    return (quick, value) if same else (target, target(*args, **kwargs))


def _quick(node: Node) -> Callable[..., Any] | None:
    """Return torch's function of Python by the name of an operation."""
    name = _name(node)
    found = getattr(torch.Tensor if name in _METHODS else torch, name, None)
    return found if type(found) in _BUILT_IN else None


_BUILT_IN: Final = (type(torch.add), type(torch.Tensor.view))


def _name(node: Node) -> str:
    """Return the name of an operation of torch's, without what it is overloaded by."""
    name = str(getattr(getattr(node.target, "_schema", None), "name", ""))
    return name.removeprefix("aten::") if name.startswith("aten::") else ""


def _into(
    node: Node, over: Node, args: Sequence[Any], place: Tensor, value: Tensor
) -> Literal["in place", "out", ""]:
    """Return how to call an operation so that it writes where an argument lies.

    "" where a trial on a copy does not give the same.
    """
    copy, name = place.clone(), _name(node)
    given = [copy if a is place else a for a in args]
    first = node.args[0] is over
    try:
        found = (
            getattr(torch.Tensor, f"{name}_")(*given)
            if first
            else getattr(torch, name)(*given, out=copy)
        )
    except (AttributeError, TypeError, RuntimeError):
        return ""
    same = found.data_ptr() == copy.data_ptr() and _alike_in_memory(found, value)
    if not same or not equal([found], [value]):
        return ""
    return "in place" if first else "out"


def _alike_in_memory(own: Any, value: Tensor) -> bool:
    """Tell whether a tensor lies in memory of its own just as another one."""
    if not isinstance(own, torch.Tensor) or own.dtype != value.dtype:
        return False
    whole = own.untyped_storage().nbytes() == own.nbytes
    return whole and own.shape == value.shape and own.stride() == value.stride()


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _lies_at(place: int, value: Any) -> int:
    """Tell whether a value has this memory, or how many of several have."""
    if isinstance(value, torch.Tensor):
        return int(_place(value) == place)
    return sum(_lies_at(place, v) for v in value) if isinstance(value, (list, tuple)) else 0


def _alike(a: Any, b: Any) -> bool:
    """Tell whether two operations were handed the same; tensors are the same if they are one."""
    if isinstance(a, torch.Tensor) or isinstance(b, torch.Tensor):
        return a is b
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_alike, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_alike(a[k], b[k]) for k in a)
    return type(a) is type(b) and bool(a == b)
