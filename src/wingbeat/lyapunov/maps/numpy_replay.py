"""Replay the recording of a small map with NumPy, whose calls cost a fifth of torch's.

A map of a few numbers spends its time in the calls, not in the arithmetic. Each recorded
operation is replaced by its NumPy counterpart; a map with an operation that is not in the
table below stays with torch. Whoever uses a replay compares it with the map itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from wingbeat.replicas.simplify import simplify
from wingbeat.tracing import trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    Floats = NDArray[np.floating]


def _add(a: Any, b: Any, *, alpha: float = 1) -> Any:
    return a + b if alpha == 1 else a + alpha * b


def _sub(a: Any, b: Any, *, alpha: float = 1) -> Any:
    return a - b if alpha == 1 else a - alpha * b


def _power(a: Any, exponent: float) -> Any:
    if exponent == 2:
        return a * a
    return a * a * a if exponent == 3 else a**exponent


def _select(a: Any, axis: int, index: int) -> Any:
    return a[index] if axis == 0 else a.take(index, axis)


def _slice(a: Any, axis: int = 0, start: Any = None, stop: Any = None, step: int = 1) -> Any:
    if axis == 0:
        return a[start:stop:step]
    return a[(slice(None),) * (axis % a.ndim) + (slice(start, stop, step),)]


def _stack(parts: Any, axis: int = 0) -> Any:
    return np.array(parts) if axis == 0 else np.stack(parts, axis)


def _cat(parts: Any, axis: int = 0) -> Any:
    return np.concatenate(parts, axis)


def _roll(a: Any, shifts: Any, axes: Any = ()) -> Any:
    if a.ndim == 1 and len(shifts) == 1:
        shift = shifts[0] % a.size
        return np.concatenate((a[-shift:], a[:-shift])) if shift else a
    return np.roll(a, tuple(shifts), tuple(axes) if axes else None)


def _unbind(a: Any, axis: int = 0) -> Any:
    return a if axis == 0 else np.moveaxis(a, axis, 0)


def _total(a: Any, axes: Any = None, keepdim: bool = False) -> Any:
    return a.sum(axis=tuple(axes) if axes else None, keepdims=keepdim)


def _split(a: Any, sizes: Any, axis: int = 0) -> Any:
    return np.split(a, np.cumsum(sizes)[:-1], axis)


def _unsqueeze(a: Any, axis: int) -> Any:
    # NumPy's own function spends most of its time on the check of the axis
    return np.reshape(a, (1, *np.shape(a))) if axis == 0 else np.expand_dims(a, axis)


def _itself(a: Any, *_: Any, **__: Any) -> Any:
    return a


_aten = torch.ops.aten
_TABLE: dict[Any, Callable[..., Any]] = {
    _aten.add.Tensor: _add,
    _aten.sub.Tensor: _sub,
    _aten.rsub.Scalar: lambda a, b: b - a,
    _aten.mul.Tensor: lambda a, b: a * b,
    _aten.div.Tensor: lambda a, b: a / b,
    _aten.neg.default: lambda a: -a,
    _aten.abs.default: abs,
    _aten.pow.Tensor_Scalar: _power,
    _aten.remainder.Scalar: lambda a, b: a % b,
    _aten.remainder.Tensor: lambda a, b: a % b,
    _aten.sin.default: np.sin,
    _aten.cos.default: np.cos,
    _aten.sqrt.default: np.sqrt,
    _aten.select.int: _select,
    _aten.slice.Tensor: _slice,
    _aten.stack.default: _stack,
    _aten.cat.default: _cat,
    _aten.roll.default: _roll,
    _aten.unbind.int: _unbind,
    _aten.split_with_sizes.default: _split,
    _aten.unsqueeze.default: _unsqueeze,
    _aten.squeeze.dim: lambda a, axis: np.squeeze(a, axis) if a.shape[axis] == 1 else a,
    _aten.view.default: np.reshape,
    _aten._unsafe_view.default: np.reshape,
    _aten.reshape.default: np.reshape,
    _aten.expand.default: np.broadcast_to,
    _aten.t.default: lambda a: a.T,
    _aten.transpose.int: np.swapaxes,
    _aten.permute.default: np.transpose,
    _aten.mv.default: lambda a, b: a @ b,
    _aten.mm.default: lambda a, b: a @ b,
    _aten.dot.default: lambda a, b: a @ b,
    _aten.sum.default: _total,
    _aten.sum.dim_IntList: _total,
    _aten.clone.default: _itself,
    _aten.detach.default: _itself,
    _aten.alias.default: _itself,
    _aten.lift_fresh_copy.default: _itself,
}


def numpy_replay(
    function: Callable[[Tensor], Tensor], example: Tensor
) -> Callable[[Floats], Floats] | None:
    """Return a function of one tensor as a function of one array, or None if it has no such form.

    Args:
        function: of one tensor on the CPU, without random numbers or branches on values.
        example: an argument of the shape and type that it will have.

    >>> f = numpy_replay(lambda x: 1 - 2 * x[0] * x, torch.ones(2))
    >>> f(np.array([2.0, 1.0], dtype=np.float32))
    array([-7., -3.], dtype=float32)
    """
    if example.device.type != "cpu":
        return None
    try:
        graph = simplify(trace(function, example))
    except Exception:  # whatever a map does that a recording cannot hold
        return None
    for node in graph.graph.nodes:
        if node.op == "call_function" and node.target in _TABLE:
            _plain_arguments(node)
            node.target = _TABLE[node.target]
        elif node.op == "call_function" and not _is_getitem(node):
            return None
        elif node.op == "get_attr":
            _as_array(graph, node.target)
    graph.recompile()
    replay: Callable[[Floats], Floats] = graph.forward
    return replay


def _is_getitem(node: Any) -> bool:
    return getattr(node.target, "__name__", "") == "getitem"


def _plain_arguments(node: Any) -> None:
    """Drop arguments about memory, which NumPy does not have."""
    node.kwargs = {k: v for k, v in node.kwargs.items() if k in ("alpha", "keepdim")}
    node.args = pytree.tree_map_only(torch.Tensor, lambda x: x.numpy(), node.args)


def _as_array(graph: Any, name: str) -> None:
    value = getattr(graph, name)
    if isinstance(value, torch.Tensor):
        delattr(graph, name)
        setattr(graph, name, value.detach().numpy())
