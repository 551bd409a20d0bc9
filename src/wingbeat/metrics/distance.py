"""Distance and angle between two weight vectors."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.arguments import as_float64, points_of
from wingbeat.errors import RequestError
from wingbeat.metrics.blocks import BLOCK_NUMBERS
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wingbeat.arguments import Points


def l2(a: Points, b: Points) -> Array:
    """Return the Euclidean distance |a − b|.

    Args:
        a: ``(..., P)``.
        b: ``(..., P)``; leading axes broadcast.

    Returns:
        ``(...)`` float64, unit weight, ≥ 0, 0 = identical (exactly); NaN or inf where a weight
        is not finite.

    Raises:
        RequestError: if the shapes do not fit.

    >>> float(l2(np.array([0.0, 3.0]), np.array([4.0, 0.0])))
    5.0
    """
    return np.asarray(np.sqrt(_squared_distance(points_of(a, "a"), points_of(b, "b"))))


def relative_l2(a: Points, b: Points) -> Array:
    """Return |a − b| ÷ |a|: the first argument is the reference.

    Args and errors as in `l2`.

    Returns:
        ``(...)``, no unit, ≥ 0, 0 = identical; NaN where |a| is 0.

    >>> float(relative_l2(np.array([2.0, 0.0]), np.array([3.0, 0.0])))
    0.5
    """
    a, b = points_of(a, "a"), points_of(b, "b")
    apart = _squared_distance(a, b)
    first = _squared_distance(a, np.zeros(a.shape[-1]))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(first > 0.0, np.sqrt(apart / first), nan))


def cosine(a: Points, b: Points) -> Array:
    """Return the cosine of the angle between a and b.

    Args and errors as in `l2`.

    Returns:
        ``(...)`` in [−1, 1], 1 = same direction; NaN where a norm is 0.

    >>> float(cosine(np.array([1.0, 0.0]), np.array([2.0, 0.0])))
    1.0
    """
    first, second, product = _sums(points_of(a, "a"), points_of(b, "b"))
    with np.errstate(invalid="ignore", divide="ignore"):
        # Two roots, so that the product of two tiny norms does not vanish.
        value = product / (np.sqrt(first) * np.sqrt(second))
        defined = (first > 0.0) & (second > 0.0)
        return np.asarray(np.where(defined, np.clip(value, -1.0, 1.0), nan))


def _sums(a: Points, b: Points) -> tuple[Array, Array, Array]:
    """Return |a|², |b|² and a·b, summed block by block."""
    lead = _lead(a, b)
    first, second, product = np.zeros(lead), np.zeros(lead), np.zeros(lead)
    with np.errstate(invalid="ignore", over="ignore"):
        for x, y in _pairs(a, b):
            first += _dot(x, x)
            second += _dot(y, y)
            product += _dot(x, y)
    return first, second, product


def _squared_distance(a: Points, b: Points) -> Array:
    total = np.zeros(_lead(a, b))
    with np.errstate(invalid="ignore", over="ignore"):
        for x, y in _pairs(a, b):
            apart = x - y
            total += _dot(apart, apart)
    return total


def _dot(x: Array, y: Array) -> Array:
    return np.asarray(np.einsum("...p,...p->...", x, y))


def _pairs(a: Points, b: Points) -> Iterator[tuple[Array, Array]]:
    """Read both in step; the one with more rows sets the width of a block."""
    rows = int(np.prod(_lead(a, b)))
    width = max(1, BLOCK_NUMBERS // max(1, rows))
    for start in range(0, a.shape[-1], width):
        stop = start + width
        yield as_float64(a[..., start:stop]), as_float64(b[..., start:stop])


def _lead(a: Points, b: Points) -> tuple[int, ...]:
    shapes = tuple(a.shape), tuple(b.shape)
    try:
        if not all(shapes) or shapes[0][-1] != shapes[1][-1]:
            raise ValueError
        return np.broadcast_shapes(shapes[0][:-1], shapes[1][:-1])
    except ValueError:
        raise RequestError(
            f"points have shapes {shapes[0]} and {shapes[1]}; give (..., parameters) with the "
            "same number of parameters and leading axes that broadcast"
        ) from None
