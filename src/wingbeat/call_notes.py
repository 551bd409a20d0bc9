"""Note an operation that is met while a function is traced, where nothing about it is unusual.

torch 2.13 takes half a millisecond for each: it asks whether a size is a symbol, whether an
argument is an object of a compiler's, and describes the result twice. An operation on plain tensors
and numbers has none of that. What is noted of it is the same, and all others are left to torch.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.fx.experimental import proxy_tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.fx import Node

_NUMBERS: Final = frozenset(
    (
        *(bool, int, float, complex, str, types.NoneType),
        *(torch.dtype, torch.device, torch.layout, torch.memory_format),
    )
)
_LEFT_TO_TORCH: Final = frozenset(
    (torch.ops.aten.is_nonzero.default, torch.ops.aten.lift_fresh.default)
)
_OF_OTHERS: Final = torch._C.DispatchKey.CompositeImplicitAutograd
"""Has a kernel for what torch may take apart into other operations."""


class _UnusualError(Exception):
    """Something is met that torch must see itself."""


def noting_quickly(usual: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that does as torch's ``proxy_call``, sooner.

    Args:
        usual: torch's own, which is asked whenever anything is unusual.

    >>> noting_quickly(len).__name__
    'noted'
    """

    def noted(mode: Any, func: Any, pre_dispatch: Any, args: Any, kwargs: Any) -> Any:
        """Run an operation, and note it."""
        try:
            _check(mode, func, pre_dispatch)
            there = _nodes(mode.tracer, args)
            named = {name: _nodes(mode.tracer, value) for name, value in kwargs.items()}
        except _UnusualError:
            return usual(mode, func, pre_dispatch, args, kwargs)
        return _run(mode.tracer, func, (args, kwargs), (there, named))

    return noted


def _check(mode: Any, func: Any, pre_dispatch: Any) -> None:
    """Let only an operation pass that is taken as it is.

    Raises:
        _UnusualError: it, or the way of tracing, is another.
    """
    known = (
        type(mode.tracer) is proxy_tensor.PythonKeyTracer and type(func) is torch._ops.OpOverload
    )
    own = pre_dispatch or func in mode.decomposition_table or mode.emulate_precision_casts
    if not known or own or func in _LEFT_TO_TORCH or torch.Tag.data_dependent_output in func.tags:
        raise _UnusualError
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    if _OF_OTHERS in func.py_kernels or has_kernel(func.name(), _OF_OTHERS):
        raise _UnusualError


def _nodes(tracer: Any, given: Any) -> Any:
    """Return arguments with nodes in place of tensors.

    Raises:
        _UnusualError: one is not plain, is not the trace's own, or is known to be constant.
    """
    kind = type(given)
    if kind in _NUMBERS:
        return given
    if kind is torch.Tensor:
        slot = proxy_tensor.get_proxy_slot(given, tracer, None)
        if slot is None or slot.constant is not None:
            raise _UnusualError
        return slot.proxy.node
    if kind is tuple or kind is list:
        return kind([_nodes(tracer, one) for one in given])
    raise _UnusualError


def _run(tracer: Any, func: Any, given: tuple[Any, Any], noted: tuple[Any, Any]) -> Any:
    """Run an operation on what it is given, and note it with the nodes of that."""
    name = tracer.graph._target_to_str(func.overloadpacket.__name__)
    node: Node = tracer.create_node("call_function", func, *noted, name=name)
    proxy = tracer.proxy(node)  # before it is run: what it changes in place is what it returns
    args, kwargs = given
    out = func(*args, **kwargs)
    if type(out) is torch.Tensor and out.layout is torch.strided:
        proxy_tensor.set_proxy_slot(out, tracer, proxy_tensor._ProxyTensor(proxy, None))
        node.meta["val"] = proxy_tensor.extract_val(out)
        return out
    return proxy_tensor.track_tensor_tree(out, proxy, constant=None, tracer=tracer)
