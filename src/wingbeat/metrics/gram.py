"""Inner products of weight vectors: everything second-order comes from this small matrix.

With n points of P parameters the Gram matrix has n² numbers and costs n²·P operations, where
the covariance of the parameters would have P² numbers and cost P³ (deep-lyapunov 0.1.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from wingbeat.arguments import as_float64, one_of, parts_of, points_of
from wingbeat.errors import RequestError
from wingbeat.metrics.blocks import blocks, require_axes
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wingbeat.arguments import Points


Centre = Literal["none", "first", "mean"]


def gram(points: Points | Iterable[Points], *, centre: Centre = "mean") -> Array:
    """Return the inner products of points after moving the origin, in float64.

    The first point is subtracted before any product is taken, and then the mean of what is
    left, so distances far below the length of the points keep their relative precision, and
    identical points give a matrix of exact zeros. Reads a few parameters at a time.

    Args:
        points: ``(..., n, P)``, or an iterable of ``(..., n, p)`` blocks, one per tensor.
        centre: where the origin lies: "none" leaves it, "first" puts it on the first point,
            "mean" on the mean of the n points.

    Returns:
        ``(..., n, n)``, symmetric, unit weight². A point that is not finite makes its row and
        column NaN under "none" and "first", and everything NaN under "mean".

    Raises:
        RequestError: for an unknown centre, too few axes, no block at all or blocks that
            disagree on the number of points.

    >>> gram(np.array([[1.0, 1.0], [1.0, 2.0]]), centre="first")
    array([[0., 0.],
           [0., 1.]])
    """
    one_of(centre, "centre", get_args(Centre))
    total: Array | None = None
    for tensor in parts_of(points):
        part = _gram_of(points_of(tensor), centre)
        if total is not None and part.shape != total.shape:
            raise RequestError(
                f"blocks give Gram matrices of shape {total.shape} and {part.shape}; "
                "every block needs the same points in the same order"
            )
        total = part if total is None else total + part
    if total is None:
        raise RequestError("there is no block of points; give at least one tensor")
    return total


def squared_distances(g: Array) -> Array:
    """Return pairwise squared distances ``(..., n, n)`` from a Gram matrix with any origin.

    Never negative, 0 = identical, the diagonal exactly 0. Rounding is about 1e-16 of the
    squared distance from the origin, so put the origin among the points.

    >>> squared_distances(np.array([[0.0, 0.0], [0.0, 4.0]]))
    array([[0., 4.],
           [4., 0.]])
    """
    g = _square(g)
    lengths = np.diagonal(g, axis1=-2, axis2=-1)
    with np.errstate(invalid="ignore"):
        squares = lengths[..., :, None] + lengths[..., None, :] - 2.0 * g
    np.maximum(squares, 0.0, out=squares)
    index = np.arange(g.shape[-1])
    squares[..., index, index] = 0.0
    return squares


def centred(g: Array) -> Array:
    """Return the Gram matrix with its origin moved to the mean of the points.

    Less precise than centring the points themselves where their mean is far from the origin.

    >>> centred(np.array([[0.0, 0.0], [0.0, 4.0]]))
    array([[ 1., -1.],
           [-1.,  1.]])
    """
    g = _square(g)
    with np.errstate(invalid="ignore", over="ignore"):  # products near the largest number
        rows = g.mean(axis=-1, keepdims=True)
        return np.asarray(g - rows - rows.swapaxes(-1, -2) + rows.mean(axis=-2, keepdims=True))


def _gram_of(points: Points, centre: Centre) -> Array:
    require_axes(points, 2, "(..., points, parameters)")
    lead, n = tuple(points.shape[:-2]), points.shape[-2]
    if n == 0:
        raise RequestError(f"points have shape {tuple(points.shape)}; give at least one point")
    total = np.zeros((*lead, n, n))
    with np.errstate(invalid="ignore", over="ignore"):
        for block in blocks(points):
            moved = moved_to(block, centre)
            total += moved @ moved.swapaxes(-1, -2)
    # A batched product need not be symmetric to the last bit.
    return (total + total.swapaxes(-1, -2)) / 2.0


def moved_to(block: Array, centre: Centre) -> Array:
    """Move the origin of ``(..., n, p)`` points; identical points become exact zeros."""
    if centre == "none":
        return block
    moved = block - block[..., :1, :]
    if centre == "mean":
        moved -= moved.mean(axis=-2, keepdims=True)
    return moved


def _square(g: Array) -> Array:
    g = as_float64(g, "the Gram matrix")
    if g.ndim < 2 or g.shape[-1] != g.shape[-2] or not g.shape[-1]:
        raise RequestError(f"the Gram matrix has shape {g.shape}; give (..., n, n)")
    return g
