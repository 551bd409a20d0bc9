"""Trace a function of tensors to the operations that it is made of."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.fx.experimental import proxy_tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    with _one_fake_mode():
        return proxy_tensor.make_fx(function)(*leaves)


@contextmanager
def _one_fake_mode() -> Iterator[None]:
    """Note the shapes of all values in one fake tensor mode.

    torch 2.13 makes one for each value, with a stack trace: more than half of the time that it
    takes to trace a training step. What is noted is the same.
    """
    mode = FakeTensorMode(allow_fallback_kernels=True)

    def noted(value: Any, *args: Any, **options: Any) -> Any:
        """Return a value without its numbers."""
        if type(value) not in _DENSE or value.layout is not torch.strided:
            return usual(value, *args, **options)
        with mode:
            return torch.empty_strided(
                value.shape, value.stride(), device=value.device, dtype=value.dtype
            )

    with _ONE_AT_A_TIME:  # what is replaced belongs to the process
        usual = proxy_tensor.extract_val
        proxy_tensor.extract_val = noted  # type: ignore[assignment]
        try:
            yield
        finally:
            proxy_tensor.extract_val = usual
