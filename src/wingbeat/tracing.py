"""Trace a function of tensors to the operations that it is made of."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.fx import _lazy_graph_module as lazy_graph_module
from torch.fx.experimental import proxy_tensor
from torch.utils._mode_utils import no_dispatch

from wingbeat.call_notes import noting_quickly
from wingbeat.garbage import not_searched_for
from wingbeat.unneeded_compiler import (
    compiler_is_absent,
    load_compiler,
    unneeded_compiler,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor
    from torch.fx import GraphModule

_DENSE = (torch.Tensor, nn.Parameter)
_ONE_AT_A_TIME = threading.RLock()


def trace(function: Callable[..., Any], *leaves: Tensor) -> GraphModule:
    """Return the operations that a function applies to tensors of these shapes.

    Every node has the shape, strides, type and device of its value in ``meta["val"]``.

    Raises:
        Exception: whatever the function raises, or cannot be traced.

    >>> graph = trace(lambda x: (2 * x).sin(), torch.ones(3))
    >>> [str(node.target) for node in graph.graph.nodes]
    ['x_1', 'aten.mul.Tensor', 'aten.sin.default', 'output']
    """
    with unneeded_compiler(), not_searched_for():
        if compiler_is_absent():
            with suppress(Exception), _one_at_a_time(_shorter()):
                return proxy_tensor.make_fx(function)(*leaves)
            load_compiler()  # it cannot be traced at all, or this torch needs more for it
        with _one_at_a_time({"extract_val": _noting_in_one_mode}):
            return proxy_tensor.make_fx(function)(*leaves)


@contextmanager
def _one_at_a_time(ways: Mapping[str, Callable[[Any], Callable[..., Any]]]) -> Iterator[None]:
    """Put shorter ways in the place of what belongs to the process, and take them away again."""
    with _ONE_AT_A_TIME:
        usual = {name: getattr(proxy_tensor, name) for name in ways}
        for name, way in ways.items():
            setattr(proxy_tensor, name, way(usual[name]))
        try:
            yield
        finally:
            for name, own in usual.items():
                setattr(proxy_tensor, name, own)


def _shorter() -> dict[str, Callable[[Any], Callable[..., Any]]]:
    """Return the ways of tracing that import neither the compiler nor SymPy (1.7 s)."""
    return {
        "extract_val": _noting_in_one_mode,
        "proxy_call": noting_quickly,
        "dispatch_trace": lambda _: _trace_numbers,
        "maybe_handle_decomp": _decomposing_few,
        "_should_save_eager_input_vals": _saving_few,
    }


def _noting_in_one_mode(usual: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that notes the shapes of all values in one fake tensor mode.

    torch 2.13 makes one for each value, with a stack trace: more than half of the time that it
    takes to trace a training step. What is noted is the same.
    """
    mode = FakeTensorMode(allow_fallback_kernels=True)

    def noted(value: Any, *args: Any, **options: Any) -> Any:
        """Return a value without its numbers."""
        if type(value) not in _DENSE or value.layout is not torch.strided:
            return usual(value, *args, **options)
        with no_dispatch():
            bare = torch.empty_strided(
                value.shape, value.stride(), device="meta", dtype=value.dtype
            )
        return FakeTensor(mode, bare, value.device)

    return noted


def _trace_numbers(root: Any, tracer: Any, concrete_args: Any = None) -> GraphModule:
    """Trace as ``proxy_tensor.dispatch_trace`` does where every size is a number.

    That one goes on to remove operations on sizes that are symbols; here there are none.
    """
    graph = tracer.trace(root, concrete_args)
    made: GraphModule = lazy_graph_module._make_graph_module(tracer.root, graph, root.__name__)
    return made


def _decomposing_few(usual: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that looks for a decomposition before it imports what searches faults."""

    def decomposed(mode: Any, operation: Any, *given: Any) -> Any:
        """Return what an operation is made of, if the tracer was told."""
        if operation in mode.decomposition_table:
            return usual(mode, operation, *given)
        return NotImplemented

    return decomposed


def _saving_few(usual: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that asks for kernels of a user's only where a target can be one."""

    def saves(target: Any, *given: Any) -> bool:
        """Tell whether to keep the values that an operator is given."""
        if isinstance(target, torch._ops.OpOverload):
            return bool(layout_constraint(target) == torch._C.Tag.needs_exact_strides)
        return isinstance(target, torch._ops.HigherOrderOperator) and usual(target, *given)

    layout_constraint = torch._library.utils.get_layout_constraint_tag
    return saves
