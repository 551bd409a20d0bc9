"""Fused scaled dot-product attention."""

from __future__ import annotations

from wingbeat.symmetry.axes import factors, product, wild
from wingbeat.symmetry.calls import Axes, Call, Value
from wingbeat.symmetry.rules.registry import rule
from wingbeat.symmetry.unify import broadcast, unify


@rule("scaled_dot_product_attention", "_scaled_dot_product_flash_attention_for_cpu")
def attention(call: Call) -> Value:
    """softmax(q·k + mask)·v: q and k share the inner axis, k and v the places."""
    query, key, value = call.axes("query"), call.axes("key"), call.axes("value")
    if call.arg("enable_gqa"):
        key, value = _spread(query, key), _spread(query, value)
    unify(query[-1], key[-1], call.why)
    call.contracts("query")
    call.contracts("key")
    call.contracts("value")
    rows, columns = query[-2], unify(key[-2], value[-2], call.why)
    if call.arg("is_causal"):
        call.pin([rows, columns])
    lead_shape = call.shape[:-2]
    lead = broadcast([query[:-2], key[:-2], value[:-2]], lead_shape, call.why)
    mask = call.tensor("attn_mask")
    if mask:
        weights = broadcast(
            [(*lead, rows, columns), mask], (*lead_shape, rows.size, columns.size), call.why
        )
        *front, rows, columns = weights
        lead = tuple(front)
    call.hide((*lead, rows, columns))
    call.hide((*lead, rows))  # the normaliser of the softmax
    out: Axes = (*lead, rows, value[-1])
    return [out, (*lead, rows)] if isinstance(call.node.meta["val"], (tuple, list)) else out


def _spread(query: Axes, axes: Axes) -> Axes:
    """Repeat every key-value head for the query heads that share it."""
    repeats = query[-3].size // axes[-3].size
    heads = product([*factors(axes[-3]), wild(repeats)])
    return (*axes[:-3], heads, *axes[-2:])
