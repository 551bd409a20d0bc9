"""Tensors made from nothing: constant ones tie nothing, the others are pinned."""

from __future__ import annotations

from wingbeat.symmetry.axes import leaf, wild
from wingbeat.symmetry.calls import Call, Value
from wingbeat.symmetry.rules.registry import rule


@rule("zeros", "ones", "full", "zeros_like", "ones_like", "full_like", "scalar_tensor")
@rule("new_zeros", "new_ones", "new_full", "new_empty", "empty", "empty_like")
def constant(call: Call) -> Value:
    """Every entry is the same."""
    return tuple(wild(size) for size in call.shape)


@rule("arange", "linspace", "eye", "tril_indices", "triu_indices", "rand", "randn")
def numbered(call: Call) -> Value:
    """Entries differ, and nothing can permute them."""
    return tuple(leaf(size, call.why) for size in call.shape)
