"""Operations that round otherwise in the last elements of a tensor than in the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from torch.fx import Node

UNEVEN = frozenset(
    (
        *("sigmoid", "silu", "gelu", "glu", "mish", "softplus", "elu", "sinh", "cosh", "pow"),
        *("log_sigmoid", "log_sigmoid_forward", "exp2", "expm1", "atan2", "logaddexp"),
        *("acosh", "atanh"),
    )
)
"""Operations whose vectorised form and whose form for the remainder round differently on a CPU
(measured by equal inputs in all places of a tensor; torch 2.13)."""
UNEVEN_IN_HALF: Final = frozenset(("rsqrt", "asinh"))
"""Such operations of 16-bit numbers alone (measured likewise)."""
_HALVES: Final = frozenset((torch.float16, torch.bfloat16))
_EXACT_POWERS: Final = frozenset((1, 2, 3))
"""Exponents that torch makes of products, which round alike everywhere."""


def is_uneven(node: Node) -> bool:
    """Tell whether an operation of a recording may round otherwise in the last elements."""
    packet = getattr(node.target, "overloadpacket", None)
    name = str(packet).removeprefix("aten.").removesuffix("_backward")
    if name in UNEVEN_IN_HALF:
        return getattr(node.meta.get("val"), "dtype", None) in _HALVES
    if name == "pow" and len(node.args) > 1 and node.args[1] in _EXACT_POWERS:
        return False
    return name in UNEVEN
