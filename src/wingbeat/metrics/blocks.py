"""Read points in float64 a few parameters at a time, whatever holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from wingbeat.errors import RequestError
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    Points = NDArray[Any] | torch.Tensor

BLOCK_NUMBERS: Final = 1 << 17
"""Numbers in one float64 block: 1 MiB, which stays in the processor's cache."""


def as_float64(points: ArrayLike | torch.Tensor) -> Array:
    """Return an array, list or tensor of real numbers as a float64 array (bfloat16 too).

    Raises:
        RequestError: for anything else.

    >>> as_float64(torch.ones(2, dtype=torch.bfloat16))
    array([1., 1.])
    """
    if isinstance(points, torch.Tensor):
        points = _numpy_of(points.detach().cpu())
    array = np.asarray(points)
    if array.dtype.kind not in "fiub":
        raise RequestError(f"points have dtype {array.dtype}; give real numbers")
    # A signalling NaN of a diverged replica warns when it is widened.
    with np.errstate(invalid="ignore"):
        return array.astype(np.float64, copy=False)


def _numpy_of(tensor: torch.Tensor) -> NDArray[Any]:
    """View a tensor as an array; types that numpy lacks are widened, which is exact.

    NumPy widens, because torch's threads and those of the matrix products hinder each other.
    """
    if tensor.dtype is torch.bfloat16:
        bits = tensor.view(torch.int16).numpy().view(np.uint16).astype(np.uint32)
        return (bits << np.uint32(16)).view(np.float32)
    if tensor.is_floating_point() and tensor.element_size() == 1:
        tensor = tensor.to(torch.float32)
    return np.asarray(tensor.numpy())


def blocks(points: Points, *, numbers: int = BLOCK_NUMBERS) -> Iterator[Array]:
    """Yield ``(..., p)`` float64 slices that together cover the last axis of ``(..., P)``.

    A slice may share memory with a float64 input: do not write to it.

    Raises:
        RequestError: for points without an axis or that are not real numbers.

    >>> [b.shape for b in blocks(np.zeros((2, 5), np.float32), numbers=4)]
    [(2, 2), (2, 2), (2, 1)]
    """
    if not isinstance(points, torch.Tensor):
        points = np.asarray(points)
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
    shape = tuple(np.shape(points)) if not isinstance(points, torch.Tensor) else tuple(points.shape)
    if len(shape) < axes:
        raise RequestError(f"points have shape {shape}; give {meaning}")
