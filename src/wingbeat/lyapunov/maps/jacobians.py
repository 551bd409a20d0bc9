"""Triangular factors of a small map: a piece of orbit first, then all its Jacobians at once.

The orbit is sequential and cheap. Its Jacobians are not sequential, and one vectorised
forward-mode call makes a thousand of them; only products of small matrices and their
orthonormalisation are left for the loop. Per step this costs a few microseconds beside the map.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.linalg import get_blas_funcs, get_lapack_funcs
from torch.func import jacfwd, vmap

from wingbeat.lyapunov.maps.orbit import Orbit
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from wingbeat.lyapunov.maps.validate_map import FlatMap


MOST_COORDINATES = 64
"""Above this many coordinates whole Jacobians cost more than tangent vectors."""
_ELEMENTS = 4_000_000


@dataclass(frozen=True)
class JacobianBlock:
    """Triangular factors of G consecutive intervals.

    Attributes:
        r: ``(G, B, k, k)``, non-negative diagonals; NaN after an orbit left the finite numbers.
        q: ``(G, B, n, k)``, orthonormal columns after each interval; None unless asked for.
        final: states ``(B, n)`` after the last interval.
        stops: ``(B,)``, index of the first step whose result is not finite; −1 where all are.
    """

    r: Array
    q: Array | None
    final: Tensor
    stops: NDArray[np.int64]


def by_jacobians(
    flow: FlatMap,
    start: Tensor,
    q: Array,
    lengths: Sequence[int],
    first: int,
    *,
    keep: bool,
) -> Iterator[JacobianBlock]:
    """Yield blocks of factors of a map that does not look at its step index.

    Args:
        flow: the map of flat vectors.
        start: ``(B, n)``.
        q: orthonormal columns ``(B, n, k)``.
        lengths: steps of each interval.
        first: index of the first step.
        keep: whether to keep the orthonormal columns.
    """
    orbit = Orbit(flow, first)
    jacobian = vmap(jacfwd(lambda x: flow(x, first)), randomness="same")
    x, t = start, first
    for length, group in groupby(lengths):
        left, most = len(list(group)), _most_intervals(start, length)
        while left:
            count = min(left, most)
            path = orbit(x, count * length)
            matrices = jacobian(path[:-1].reshape(-1, path.shape[-1]))
            product = products(matrices, count, start.shape[0])
            x, t, left = path[-1], t + count * length, left - count
            stops = first_stops(path[1:], t - count * length)
            r, columns = factors(product, q, keep)
            q = columns[-1]
            yield JacobianBlock(r, columns if keep else None, x, stops)


def products(matrices: Tensor, groups: int, batch: int) -> Array:
    """Return the products of Jacobians over intervals.

    Args:
        matrices: ``(G·L·B, n, n)``, interval before step before state.
        groups: number of intervals G.
        batch: number of states B.

    Returns:
        ``(G, B, n, n)`` in float64.
    """
    n = matrices.shape[-1]
    each = matrices.double().reshape(groups, -1, batch, n, n)
    result = each[:, 0]
    for i in range(1, each.shape[1]):
        result = each[:, i] @ result
    found: Array = result.cpu().numpy()
    return found


def first_stops(path: Tensor, first: int) -> NDArray[np.int64]:
    """Return for each state the index of the first step whose result is not finite, or −1."""
    bad = ~torch.isfinite(path).all(dim=-1).cpu().numpy()
    return np.where(bad.any(axis=0), first + bad.argmax(axis=0), -1).astype(np.int64)


def factors(product: Array, q: Array, keep: bool) -> tuple[Array, Array]:
    """Multiply and orthonormalise one interval after the other.

    Args:
        product: ``(G, B, n, n)``.
        q: ``(B, n, k)``.
        keep: whether all orthonormal columns are wanted.

    Returns:
        ``(G, B, k, k)``, and ``(G, B, n, k)``, or only the last, ``(1, B, n, k)``.
    """
    groups, batch, n, _ = product.shape
    k = q.shape[-1]
    r = np.empty((groups, batch, k, k))
    columns = np.empty((groups if keep else 1, batch, n, k))
    decompose = _decompose_one if batch == 1 else _decompose_many
    q = q.copy()
    with np.errstate(invalid="ignore"):  # an orbit that diverged goes on as NaN
        for g in range(groups):
            q, r[g] = decompose(product[g], q)
            columns[g if keep else 0] = q
    return _signed(r, columns)


def _signed(r: Array, columns: Array) -> tuple[Array, Array]:
    """Make the diagonals non-negative, in all intervals at once.

    With Dᵍ the running product of the signs of the diagonals, DᵍRᵍDᵍ⁻¹ has none below 0.
    """
    r = np.triu(r)
    negative = np.diagonal(r, axis1=-2, axis2=-1) < 0.0
    signs = np.where(np.cumsum(negative, axis=0) % 2, -1.0, 1.0)
    before = np.concatenate((np.ones_like(signs[:1]), signs[:-1]))
    r *= signs[..., :, None] * before[..., None, :]
    columns *= signs[-len(columns) :, :, None, :]
    return r, columns


def _decompose_many(product: Array, q: Array) -> tuple[Array, Array]:
    q, r = np.linalg.qr(product @ q)
    return q, r


_ROUTINES: Any = get_lapack_funcs(("geqrf", "orgqr"), dtype=np.float64)
_GEQRF, _ORGQR = _ROUTINES
_NORM: Any = get_blas_funcs("nrm2", dtype=np.float64)  # does not overflow


def _decompose_one(product: Array, q: Array) -> tuple[Array, Array]:
    """Do the same by LAPACK directly; below the diagonal stands what LAPACK leaves there."""
    z = (q[0].T @ product[0].T).T
    if z.shape[1] == 1:
        size = _NORM(z)
        return (z / size if size > 0.0 else z)[None], size
    packed, tau, _, _ = _GEQRF(z, lwork=640, overwrite_a=1)
    r = packed[: z.shape[1]].copy()
    columns, _, _ = _ORGQR(packed, tau, lwork=640, overwrite_a=1)
    return columns[None], r


def _most_intervals(start: Tensor, length: int) -> int:
    batch, n = start.shape
    return max(1, min(1024 // length, _ELEMENTS // (n * n * batch * length)))
