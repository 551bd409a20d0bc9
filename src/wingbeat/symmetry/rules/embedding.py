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
