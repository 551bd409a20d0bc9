"""Orthonormal rows of a few long tangent vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from wingbeat.determinism import derive

if TYPE_CHECKING:
    from torch import Tensor

_LONG = 200_000
"""From this many numbers on, a product of matrices is faster than reflections."""
_WORST = {torch.float32: 1e-5, torch.float64: 1e-11}
"""Loss of orthogonality, rounding times squared condition, that is still accepted."""


def random_direction(size: int, seed: int, place: int) -> Tensor:
    """Return the ``place``-th random direction ``(size,)`` of a seed, of norm 1, in float64.

    Tangents and twins start along the same ones, so that their exponents can be compared.

    >>> round(float(random_direction(5, 0, 2).norm()), 12)
    1.0
    """
    generator = torch.Generator().manual_seed(derive(seed, "tangent", place))
    drawn = torch.randn(size, generator=generator, dtype=torch.float64)
    direction: Tensor = drawn / drawn.norm()
    return direction


def orthonormal_rows(v: Tensor) -> tuple[Tensor, Tensor]:
    """Return orthonormal rows ``(k, D)`` that span those of ``v``, and their factors ``(k,)``.

    The factors are the diagonal of the triangular matrix, positive: how much longer each row
    is than its orthonormal one. Householder's reflections; for long rows that are far from
    parallel a Cholesky factor of their Gram matrix, which is several times faster.

    Args:
        v: ``(k, D)`` with k ≤ D.

    Source: Golub and Van Loan, Matrix Computations, section 5.2; Yamamoto et al., ETNA 44
    (2015), on the loss of orthogonality.

    >>> rows, factors = orthonormal_rows(torch.tensor([[3.0, 4.0]]))
    >>> rows, factors
    (tensor([[0.6000, 0.8000]]), tensor([5.]))
    """
    if v.shape[0] == 1:
        length = torch.linalg.vector_norm(v, dim=1)
        return v / length[:, None], length
    if v.numel() >= _LONG:
        found = _by_gram(v)
        if found is not None:
            return found
    q, r = torch.linalg.qr(v.T)
    diagonal = r.diagonal()
    sign = torch.where(diagonal < 0, -1.0, 1.0).to(v)
    return (q * sign).T.contiguous(), diagonal.abs()


def _by_gram(v: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return the same from the Gram matrix, or None where rows are too nearly parallel."""
    gram = (v @ v.T).double()
    if not torch.isfinite(gram).all():
        return None
    sizes = gram.diagonal().sqrt()
    values = torch.linalg.eigvalsh(gram / (sizes[:, None] * sizes))
    worst = torch.finfo(v.dtype).eps * values[-1] / values[0]
    if not 0 < worst < _WORST.get(v.dtype, 0.0):
        return None
    lower = torch.linalg.cholesky(gram)
    rows = torch.linalg.solve_triangular(lower.to(v.dtype), v, upper=False)
    return rows, lower.diagonal().to(v.dtype)
