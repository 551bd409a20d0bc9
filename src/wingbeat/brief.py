"""What a large result shows of itself at a prompt: its numbers, and the sizes of its arrays."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, Final

SHOWN: Final = 6
"""Entries of an array, and characters times ten of a text, that fit beside the others in a line."""


def brief(result: Any) -> str:
    """Return the fields of a dataclass, one a line, with sizes in place of long values.

    Made to be the ``__repr__`` of results that hold arrays and tables, whose generated one would
    fill screens.

    Example:
        >>> from dataclasses import dataclass
        >>> import numpy as np
        >>> @dataclass
        ... class Found:
        ...     rate: float
        ...     history: np.ndarray
        ...     __repr__ = brief
        >>> Found(0.5, np.zeros((1000, 3)))
        Found
          rate     0.5
          history  array (1000, 3)
    """
    names = [field.name for field in fields(result) if field.repr]
    width = max(map(len, names), default=0)
    lines = [f"  {name:<{width}}  {_value(getattr(result, name))}" for name in names]
    return "\n".join([type(result).__name__, *lines])


def _value(value: Any) -> str:
    if hasattr(value, "shape"):
        return _array_or_table(value)
    if is_dataclass(value) and not isinstance(value, type):
        text = repr(value)
        return text if "\n" not in text and len(text) <= 10 * SHOWN else type(value).__name__
    if isinstance(value, (tuple, list, dict)):
        text = ", ".join(map(_value, value))
        many = f"{len(value)} of {type(next(iter(value), None)).__name__}"
        return (text or "none") if len(text) <= 10 * SHOWN else many
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _array_or_table(value: Any) -> str:
    if hasattr(value, "columns"):
        return f"table of {len(value)} rows: {', '.join(map(str, value.columns))}"
    few = len(value.shape) == 1 and value.shape[0] <= SHOWN
    return _numbers(value) if few or not value.shape else f"array {tuple(value.shape)}"


def _numbers(array: Any) -> str:
    values = array.tolist()
    return ", ".join(f"{v:.6g}" for v in values) if isinstance(values, list) else f"{values:.6g}"
