"""Derivatives of a function along many tangents at once, in forward and in reverse mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import func
from torch.utils import _pytree as pytree

from wingbeat.task.optimizers import root

if TYPE_CHECKING:
    from torch import Tensor


_jvp: Any = func.jvp  # their stubs know neither aux values nor nested outputs
_vjp: Any = func.vjp
mapped: Any = func.vmap


def push_forward(function: Any, point: Any, tangents: Any) -> Any:
    """Return ``((value, aux), derivatives)`` along stacked tangents, in forward mode."""

    def pushed(*tangent: Any) -> Any:
        value, derivative, aux = _jvp(function, point, tangent, has_aux=True)
        return (value, aux), derivative

    return mapped(pushed, out_dims=(None, 0), randomness="same")(*tangents)


def push_reverse(function: Any, point: Any, tangents: Any) -> Any:
    """Do the same in reverse mode twice, for operations that have no forward derivative.

    The pullback is linear in its cotangent; its own pullback is the derivative.
    """
    value, pull, aux = _vjp(function, *point, has_aux=True)
    _, push = _vjp(pull, pytree.tree_map(torch.zeros_like, value))
    (found,) = mapped(push, randomness="same")(tangents)
    return (value, aux), found


def smooth_clip(grad: Tensor, max_norm: float) -> Tensor:
    """Scale a gradient ``(P,)`` as the engine does; its derivative at 0 is the identity.

    >>> smooth_clip(torch.tensor([3.0, 4.0]), 1.0).round(decimals=4)
    tensor([0.6000, 0.8000])
    """
    norm = root((grad * grad).sum(-1, keepdim=True), smooth=True)
    return grad * torch.clamp(max_norm / (norm + 1e-6), max=1.0)
