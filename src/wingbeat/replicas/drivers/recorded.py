"""Record a training step: a flat list of tensor operations that can be replayed and compiled."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import torch

from wingbeat.errors import DriverError
from wingbeat.replicas.drivers.graphed import GraphedStep
from wingbeat.replicas.drivers.groups import Groups
from wingbeat.replicas.drivers.uneven import is_uneven
from wingbeat.replicas.reads import NotRecordableError, ReadsRefused, refuse_dynamic
from wingbeat.replicas.simplify import simplify
from wingbeat.tracing import trace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor
    from torch.fx import GraphModule

_LITERAL: Final = torch.ops.aten.lift_fresh_copy.default

Mode = Literal["compiled", "graphed", "traced", "eager"]
"""From the fastest to the one that always works."""


@dataclass(frozen=True)
class RecordedStep:
    """A step for one set of shapes.

    Attributes:
        run: what is called.
        recorded: the recording that can be held to the step; None where there is none.
        graph: it as a graph.
        signature: a digest of operations and shapes.
        uneven: see ``Lockstep``.
        lanes: likewise.
        grouped: the step for several groups at once, by their number; None where it cannot be had.
    """

    run: Callable[..., list[Tensor]]
    recorded: Callable[..., list[Tensor]] | None
    signature: str
    graph: GraphModule | None = None
    uneven: bool = True
    lanes: frozenset[int] = frozenset()
    grouped: dict[int, Groups | None] = field(default_factory=dict)


def record(function: Callable[..., list[Tensor]], leaves: list[Tensor]) -> GraphModule:
    """Return the operations that a function of tensors is made of.

    Raises:
        NotRecordableError: Python reads a tensor's values, or a shape depends on them.
        DriverError: another reason why it cannot be recorded.
    """

    def flat(*tensors: Tensor) -> list[Tensor]:
        return function(*tensors)

    try:
        with ReadsRefused():
            graph = trace(flat, *leaves)
        refuse_dynamic(graph.graph)  # before what nobody uses, a length say, is dropped
        return simplify(graph)
    except DriverError:
        raise
    except Exception as error:  # whatever a model does that a recording cannot hold
        msg = f"the step cannot be recorded: {first_line(error)}"
        reads = "value out of a tracing tensor" in str(error)  # read by torch itself, in C++
        raise (NotRecordableError if reads else DriverError)(msg) from error


def as_recorded(
    graph: GraphModule, program: Callable[..., list[Tensor]], leaves: list[Tensor], mode: Mode
) -> RecordedStep:
    """Return a recording with all that drivers ask of it, compiled where the mode says so.

    Args:
        graph: the recording.
        program: what replays it.
        leaves: what it takes.
        mode: how it is executed.
    """
    run = _made_fast(program, leaves, mode)
    uneven = any(is_uneven(node) for node in graph.graph.nodes)
    lanes = frozenset(_normalised(graph, len(leaves[0])))
    return RecordedStep(run, program, _signature(graph, leaves), graph, uneven, lanes)


def without_graph(program: RecordedStep, mode: Mode) -> RecordedStep:
    """Return what may be kept when a run is over.

    A CUDA graph holds memory of its device: arguments of its own, and all that a step makes.
    """
    if mode != "graphed" or program.recorded is None:
        return program
    return replace(program, run=program.recorded)


def with_graph(program: RecordedStep, leaves: list[Tensor], mode: Mode) -> RecordedStep:
    """Return a step that was kept by `without_graph` as it is executed.

    Raises:
        DriverError: it cannot be captured.
    """
    if mode != "graphed" or program.recorded is None:
        return program
    return replace(program, run=GraphedStep(program.recorded, leaves))


def _made_fast(
    program: Callable[..., Any], leaves: list[Tensor], mode: Mode
) -> Callable[..., list[Tensor]]:
    if mode == "compiled":
        return _compile(program, leaves)
    return GraphedStep(program, leaves) if mode == "graphed" else program


def _signature(graph: GraphModule, leaves: Sequence[Tensor]) -> str:
    text = graph.code + str([(tuple(leaf.shape), str(leaf.dtype)) for leaf in leaves])
    return hashlib.sha256(text.encode()).hexdigest()


def _normalised(graph: GraphModule, replicas: int) -> set[int]:
    """Return the channels a replica of each batch norm whose channels lie side by side."""
    wanted = "native_batch_norm_backward"
    nodes = (n for n in graph.graph.nodes if wanted in str(n.target))
    inputs = (n.args[1].meta["val"] for n in nodes)
    return {x.shape[1] // replicas for x in inputs if x.stride(1) == 1}


def _compile(program: Callable[..., Any], leaves: list[Tensor]) -> Callable[..., Any]:
    """Compile a recording; it is called with one set of shapes only, so nothing is guarded."""
    unguarded = getattr(torch.compiler, "skip_all_guards_unsafe", None)
    # The same masks as without compiling: torch's own random numbers, not the compiler's.
    options: dict[str, Any] = {"fallback_random": True}
    if unguarded is not None:
        options["guard_filter_fn"] = unguarded
    compiled: Callable[..., Any] = torch.compile(program, dynamic=False, options=options)
    compiled(*leaves)  # the work is done at the first call
    return compiled


def first_line(error: Exception) -> str:
    """Return an error's kind and the first line of what it says."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"


def holds_no_tensor(graph: GraphModule) -> bool:
    """Tell whether a recording holds no tensor of a task's own, only numbers of its code."""
    held = (node for node in graph.graph.nodes if node.op == "get_attr")
    return all(user.target is _LITERAL for node in held for user in node.users)


def shapes_of(leaves: list[Tensor]) -> tuple[Any, ...]:
    """Return what two calls must have in common to be served by one recording."""
    return tuple((tuple(t.shape), t.stride(), str(t.dtype), str(t.device)) for t in leaves)
