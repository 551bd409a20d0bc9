"""Read points in float64 a few parameters at a time, whatever holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.arguments import as_float64, points_of
from wingbeat.errors import RequestError
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wingbeat.arguments import Points

BLOCK_NUMBERS: Final = 1 << 17
"""Numbers in one float64 block: 1 MiB, which stays in the processor's cache."""


def blocks(points: Points, *, numbers: int = BLOCK_NUMBERS) -> Iterator[Array]:
    """Yield ``(..., p)`` float64 slices that together cover the last axis of ``(..., P)``.

    A slice may share memory with a float64 input: do not write to it.

    Raises:
        RequestError: for points without an axis or that are not real numbers.

    >>> [b.shape for b in blocks(np.zeros((2, 5), np.float32), numbers=4)]
    [(2, 2), (2, 2), (2, 1)]
    """
    points = points_of(points)
    if points.ndim == 0:
        raise RequestError("points have no axis; the last axis must be the parameters")
    size = points.shape[-1]
    rows = max(1, int(np.prod(points.shape[:-1])))
    width = max(1, numbers // rows)
    for start in range(0, size, width):
        yield as_float64(points[..., start : start + width])


def require_axes(points: Points, axes: int, meaning: str) -> None:
    """Refuse points with fewer axes than the estimator needs.

    >>> require_axes(np.zeros(3), 2, "(..., replicas, parameters)")
    Traceback (most recent call last):
    wingbeat.errors.RequestError: points have shape (3,); give (..., replicas, parameters)
    """
    shape = tuple(points.shape)
    if len(shape) < axes:
        raise RequestError(f"points have shape {shape}; give {meaning}")
