"""Notice what a recording cannot hold: values that Python reads, shapes that depend on data.

A recording repeats tensor operations. Whatever Python took out of a tensor while it was made,
a number or a length, stands in it for ever; a later batch would be trained with the first
batch's numbers. Such a step is not recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch.fx.experimental.proxy_tensor import get_proxy_mode, get_proxy_slot
from torch.overrides import TorchFunctionMode

from wingbeat.errors import DriverError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import Graph, Node

READING: Final = frozenset(
    (
        *("item", "tolist", "numpy", "__array__", "__dlpack__", "__bool__", "__int__", "__float__"),
        *("__complex__", "__index__", "__contains__", "equal", "allclose", "is_nonzero"),
        *("data_ptr", "storage", "untyped_storage"),
        *("__repr__", "__format__"),
    )
)
"""Methods and functions of torch that hand the values of a tensor to Python."""
DYNAMIC: Final = frozenset(
    ("_pack_padded_sequence", "_pad_packed_sequence", "bincount", "_local_scalar_dense")
)
"""Operations whose result has a size that depends on values, beside those that torch tags."""
_TAGS: Final = (torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output)
# Shapes of their results follow from values only where an index is a mask.
_INDEXING: Final = frozenset(("index", "_unsafe_index", "index_put", "index_put_"))


_LITERAL: Final = torch.ops.aten.lift_fresh_copy.default


class NotRecordableError(DriverError):
    """A step does in Python what depends on data: it has to be called anew each time."""


class ReadsRefused(TorchFunctionMode):
    """Refuse, while a step is recorded, to hand a tensor's values to Python.

    A value that follows from constants alone may be read: it is the same at every step.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call the function, unless it reads a value that another batch would change."""
        name = getattr(func, "__name__", "")
        if name in READING and any(map(_depends, args)):
            msg = (
                f"the step cannot be recorded: Python reads a tensor's values (.{name}), which "
                "other batches would change"
            )
            raise NotRecordableError(msg)
        return func(*args, **(kwargs or {}))


def refuse_dynamic(graph: Graph) -> None:
    """Refuse a recording in which a shape or a number depends on data.

    Raises:
        NotRecordableError: it names the operation.
    """
    for node in graph.nodes:
        if node.op == "call_function" and _is_dynamic(node) and _varies(node):
            name = str(getattr(node.target, "overloadpacket", node.target)).removeprefix("aten.")
            msg = (
                f"the step cannot be recorded: the result of {name} has a size that depends on "
                "values, which other batches would change"
            )
            raise NotRecordableError(msg)


def _is_dynamic(node: Node) -> bool:
    name = getattr(getattr(node.target, "overloadpacket", None), "__name__", "")
    if name in _INDEXING:
        return any(_is_mask(n) for n in node.args[1] if n is not None)  # type: ignore[union-attr]
    tags = getattr(node.target, "tags", ())
    return name in DYNAMIC or any(tag in tags for tag in _TAGS)


def _is_mask(node: Any) -> bool:
    value = getattr(node, "meta", {}).get("val")
    return isinstance(value, torch.Tensor) and value.dtype in (torch.bool, torch.uint8)


def _depends(value: Any) -> bool:
    """Tell whether a tensor may have other values at another step."""
    mode = get_proxy_mode()
    if not isinstance(value, torch.Tensor) or mode is None:
        return isinstance(value, torch.Tensor)
    slot: Any = get_proxy_slot(_plain(value), mode.tracer, None)
    # A tensor from outside, an attribute say, may be changed by whoever holds it.
    return slot is None or (slot.constant is None and _varies(slot.proxy.node))


def _plain(value: Tensor) -> Tensor:
    """Return the tensor within the wrappers of vectorising and differentiating."""
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(value):
        value = functorch.get_unwrapped(value)
    return value


def _varies(node: Node) -> bool:
    """Tell whether an operation follows from inputs, attributes or random numbers."""
    seen, waiting = set(), [node]
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        random = torch.Tag.nondeterministic_seeded in getattr(one.target, "tags", ())
        if one.op in ("placeholder", "get_attr") or random:
            return True
        if one.target is not _LITERAL:  # torch.tensor(…) of numbers that Python has
            waiting += one.all_input_nodes
    return False
