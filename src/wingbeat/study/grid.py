"""Grids: the cross product of values, lists without repetition, and rules that leave cells out."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from wingbeat.arguments import shown
from wingbeat.errors import RequestError, nearest
from wingbeat.study.condition import Condition

DICTS = ("arguments", "tags", "optimizer", "perturbation")
"""Fields whose entries are axes of their own, as ``arguments.lr``."""
SHORT = ("seed", "perturbation")
"""Names for the one entry of a field that holds several."""
_BOUNDS = ("min", "max")


def cross(start: Condition, axes: Mapping[str, Sequence[Any]]) -> list[Condition]:
    """Return one condition for each combination of values, the last axis running fastest.

    Args:
        start: what all have in common.
        axes: what is varied, to its values: a field of ``Condition``; ``arguments.name``,
            ``optimizer.name``, ``tags.name`` or ``perturbation.name`` for one entry of it
            (``perturbation`` is the only one of a condition); ``seed`` for one base seed and
            ``perturbation`` for one whole perturbation.

    Returns:
        As many conditions as the product of the numbers of values.

    Raises:
        RequestError: an unknown field, or an axis without values.

    Example:
        >>> grid = cross(Condition("m:f"), {"arguments.lr": [0.1, 0.2], "seed": [0, 1]})
        >>> [(c.arguments["lr"], c.seeds) for c in grid]
        [(0.1, (0,)), (0.1, (1,)), (0.2, (0,)), (0.2, (1,))]
    """
    for name, values in axes.items():
        if isinstance(values, str) or not values:
            raise RequestError(f"axis {name!r} has no list of values: give at least one")
    return [
        assigned(start, dict(zip(axes, values, strict=True)))
        for values in itertools.product(*axes.values())
    ]


def unique(conditions: Iterable[Condition]) -> list[Condition]:
    """Return the conditions in order, each key once.

    Example:
        >>> len(unique([Condition("m:f"), Condition("m:f", tags={"shown": "as this"})]))
        1
    """
    found: dict[str, Condition] = {}
    for condition in conditions:
        found.setdefault(condition.key, condition)
    return list(found.values())


def assigned(condition: Condition, values: Mapping[str, Any]) -> Condition:
    """Return a condition with some of its entries set; names are those of ``cross``.

    Raises:
        RequestError: an unknown name, or a value that does not fit.

    Example:
        >>> assigned(Condition("m:f"), {"perturbation.scale": 0.5}).perturbations
        ({'kind': 'gaussian', 'scale': 0.5},)
    """
    changed: dict[str, Any] = {}
    own: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        field, dot, inner = name.partition(".")
        if dot and field in DICTS and inner:
            whole = _only(condition, changed) if field == "perturbation" else None
            if whole is None:
                whole = changed.get(field, getattr(condition, field, None)) or {}
            if not isinstance(whole, dict):
                raise RequestError(f"{name} cannot be set: {field} is {shown(whole)}, no table")
            if whole is not own.get(field):  # a copy once, not for every entry
                own[field] = whole = dict(whole)
                entry = (whole,) if field == "perturbation" else whole
                changed["perturbations" if field == "perturbation" else field] = entry
            whole[inner] = value
        elif name == "seed":
            changed["seeds"] = (value,)
        elif name == "perturbation":
            changed["perturbations"] = (value,)
        else:
            changed[_field(name)] = value
    return replace(condition, **changed)


def value_of(condition: Condition, name: str) -> Any:
    """Return what a condition has under a name of ``cross``; None where it has nothing.

    Raises:
        RequestError: an unknown name.

    Example:
        >>> value_of(Condition("m:f", {"lr": 0.1}), "arguments.lr")
        0.1
    """
    field, dot, inner = name.partition(".")
    if dot and field in DICTS:
        whole = _only(condition, {}) if field == "perturbation" else getattr(condition, field)
        return (whole or {}).get(inner)
    if name == "seed":
        return condition.seeds[0] if len(condition.seeds) == 1 else None
    if name == "perturbation":
        return _only(condition, {})
    return getattr(condition, _field(name))


def matches(condition: Condition, rule: Mapping[str, Any]) -> bool:
    """Tell whether a condition fits every entry of a rule.

    An entry is a value, a list of values, or bounds ``{"min": …, "max": …}``, both included.

    Raises:
        RequestError: an unknown name.

    Example:
        >>> one = Condition("m:f", {"lr": 0.1, "net": "wide"})
        >>> matches(one, {"arguments.lr": {"max": 0.2}, "arguments.net": ["wide", "deep"]})
        True
    """
    return all(_fits(value_of(condition, name), wanted) for name, wanted in rule.items())


def _fits(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping) and wanted and set(wanted) <= set(_BOUNDS):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        for bound in wanted.values():
            if isinstance(bound, bool) or not isinstance(bound, int | float):
                raise RequestError(f"a bound is {shown(bound)}: give a number")
        return bool(wanted.get("min", value) <= value <= wanted.get("max", value))
    found = list(value) if isinstance(value, tuple) else value
    return bool(found == wanted) or (isinstance(wanted, list) and found in wanted)


def _only(condition: Condition, changed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the one perturbation of a condition."""
    found = changed.get("perturbations", condition.perturbations)
    if len(found) != 1:
        msg = f"perturbation.… needs a condition with one perturbation, and this has {len(found)}"
        raise RequestError(msg)
    one: dict[str, Any] = found[0]
    return one


def _field(name: str) -> str:
    known = [f.name for f in fields(Condition)]
    if name not in known:
        names = [*known, *SHORT, *(f"{field}.…" for field in DICTS)]
        raise RequestError(f"a condition has no field {name!r}: {nearest(name, names)}")
    return name
