"""Rows of a table by number."""

from __future__ import annotations

from wingbeat.symmetry.calls import Call, Value
from wingbeat.symmetry.rules.registry import rule


@rule("embedding")
def embedding(call: Call) -> Value:
    """Rows are pinned (the numbers are given from outside), columns are kept."""
    weight = call.axes("weight")
    call.pin(weight[:1])
    return (*call.axes("indices"), *weight[1:])


@rule("embedding_bag", "_embedding_bag", "_embedding_bag_forward_only")
def embedding_bag(call: Call) -> Value:
    """Sum rows, one sum for each bag; counts and places of the bags are fixed."""
    weight = call.axes("weight")
    call.pin(weight[:1])
    beside = [tuple(call.pinned(n) for n in shape) for shape in call.shapes[1:]]
    return [(call.pinned(call.shape[0]), weight[1]), *beside]
