"""Grids: the cross product of values, and lists without repetition."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Any

from wingbeat.errors import RequestError, nearest
from wingbeat.study.condition import Condition


def cross(start: Condition, axes: dict[str, Sequence[Any]]) -> list[Condition]:
    """Return one condition for each combination of values, the last axis running fastest.

    Args:
        start: what all have in common.
        axes: field, or ``arguments.name`` or ``tags.name``, to its values.

    Returns:
        As many conditions as the product of the numbers of values.

    Raises:
        RequestError: an unknown field, or an axis without values.

    Example:
        >>> grid = cross(Condition("m:f"), {"arguments.lr": [0.1, 0.2], "seeds": [(0,), (1,)]})
        >>> [(c.arguments["lr"], c.seeds) for c in grid]
        [(0.1, (0,)), (0.1, (1,)), (0.2, (0,)), (0.2, (1,))]
    """
    for name, values in axes.items():
        if not values:
            raise RequestError(f"axis {name!r} has no values: give at least one")
    found = []
    for values in itertools.product(*axes.values()):
        condition = start
        for name, value in zip(axes, values, strict=True):
            condition = _with(condition, name, value)
        found.append(condition)
    return found


def unique(conditions: Iterable[Condition]) -> list[Condition]:
    """Return the conditions in order, each key once.

    Example:
        >>> len(unique([Condition("m:f"), Condition("m:f", tags={"shown": "as this"})]))
        1
    """
    return list({condition.key: condition for condition in reversed(list(conditions))}.values())[
        ::-1
    ]


def _with(condition: Condition, name: str, value: Any) -> Condition:
    field, dot, inner = name.partition(".")
    if dot and field in ("arguments", "tags") and inner:
        changed: dict[str, Any] = {field: {**getattr(condition, field), inner: value}}
        return replace(condition, **changed)
    known = [f.name for f in fields(Condition)]
    if name not in known:
        raise RequestError(f"a condition has no field {name!r}: {nearest(name, known)}")
    plain: dict[str, Any] = {name: value}
    return replace(condition, **plain)
