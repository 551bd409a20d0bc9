"""Eigenvalues at the ends of the spectrum of symmetric operators, by block Lanczos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

from wingbeat.curvature.linear import Operator
from wingbeat.errors import RequestError, nearest

Which = Literal["largest", "smallest", "both"]
_ENDS: Final[dict[str, tuple[bool, bool]]] = {
    "largest": (True, False),
    "smallest": (False, True),
    "both": (True, True),
}


_EXHAUSTED: Final = 200
"""Rounding errors of the largest eigenvalue that the residual of an exhausted space may hold; 98
were measured among 24 matrices whose ends differ by 1,000."""
_NEGLIGIBLE: Final = 10
"""Such errors below which an eigenvalue cannot be told from zero; it then counts as found."""


@dataclass(frozen=True)
class Eigenpairs:
    """Eigenvalues of several replicas with what is known of their errors.

    Attributes:
        values: ``(replicas, k)``, the largest first; "both": ``(replicas, 2k)``, the k largest in
            descending, then the k smallest in ascending order. NaN where a product was not finite.
        vectors: of unit length, ``(replicas, k or 2k, size)``.
        residuals: ‖Av − θv‖, shape of ``values``, at least 0: an eigenvalue lies within this
            distance of θ.
        converged: whether the residual is below the tolerance times the value's own |θ|, or, where
            the space holds every direction, below what rounding leaves of the largest.
        products: operator-vector products that each replica took.
    """

    values: Tensor
    vectors: Tensor
    residuals: Tensor
    converged: Tensor
    products: int


def eigenpairs(
    operator: Operator,
    k: int = 1,
    *,
    which: Which = "largest",
    tolerance: float | None = None,
    most: int = 300,
    block: int | None = None,
    seed: int = 0,
) -> Eigenpairs:
    """Return the k algebraically largest or smallest eigenvalues, or both.

    Krylov space with full re-orthogonalisation (each new block twice against all before it,
    once more after it is normalised) and Rayleigh-Ritz on all of it. All replicas go in step,
    until every one has converged. A space that is exhausted goes on from a random direction, so
    that with ``most`` at least the size every eigenvalue is found.

    Args:
        operator: the matrices.
        k: how many at each end.
        which: "largest" (algebraic, not in magnitude), "smallest" or "both".
        tolerance: of the residual over the value's own |θ|, so that large curvature of the other
            sign hides nothing; None takes 1e-6 in float64, where the value's own error is about
            its square over the gap, and 1e-4 in float32.
        most: products of each replica at most; fewer if the size is smaller.
        block: directions added at once. An eigenvalue of higher multiplicity than this may be
            found only so many times; None takes k, at most 4.
        seed: of the starting directions, the same for all replicas.

    Returns:
        The pairs; those not ``converged`` within ``most`` are there with their residuals.

    Raises:
        RequestError: k is not within the size, or another argument is out of range.

    Source:
        Golub and Van Loan, "Matrix Computations" (4th ed.), section 10.3.

    Example:
        >>> matrix = torch.diag(torch.tensor([5.0, 2.0, -7.0], dtype=torch.float64))
        >>> found = eigenpairs(Operator.of(matrix), which="both")
        >>> [round(v, 9) for v in found.values[0].tolist()]
        [5.0, -7.0]
    """
    high, low = _ENDS.get(which, (False, False))
    _check(operator, k, which, high and low, most, block)
    epsilon = torch.finfo(operator.dtype).eps
    goal = tolerance or (1e-6 if epsilon < 1e-12 else 1e-4)
    space = _Space(operator, block or min(4, k), seed)
    ends = k * (high + low)
    while True:
        space.grow()
        values, mixing, residuals = space.ritz()
        full = space.count >= min(most, operator.size)
        if space.count < min(max(ends, 1), operator.size) and not full:
            continue
        places = _places(values.shape[1], k, high, low)
        rounding = epsilon * values.abs().amax(1, keepdim=True)
        least = (_EXHAUSTED if space.count >= operator.size else _NEGLIGIBLE) * rounding
        fine = residuals[:, places] <= torch.maximum(goal * values[:, places].abs(), least)
        if full or bool((fine | space.bad[:, None]).all()):
            break
    return space.pairs(values, mixing, residuals, places, fine)


def _places(count: int, k: int, high: bool, low: bool) -> list[int]:
    """Return the places of both ends among ascending values."""
    top = [count - 1 - i for i in range(min(k, count))] if high else []
    return top + (list(range(min(k, count))) if low else [])


def _check(
    operator: Operator, k: int, which: str, both: bool, most: int, block: int | None
) -> None:
    if which not in _ENDS:
        raise RequestError(f"which is {which!r}: {nearest(which, _ENDS)}")
    least = k * (2 if both else 1)
    if k < 1 or least > operator.size:
        raise RequestError(f"k is {k} for {operator.size} coordinates: ask for 1 to all of them")
    if most < least:
        raise RequestError(f"most is {most}: {least} eigenvalues need at least as many products")
    if block is not None and not 1 <= block <= operator.size:
        raise RequestError(f"block is {block}: use 1 to {operator.size}")


class _Space:
    """Krylov spaces of all replicas: orthonormal rows Q, and T = Q A Qᵀ."""

    def __init__(self, operator: Operator, block: int, seed: int) -> None:
        self.operator, self.block = operator, block
        self.generator = torch.Generator().manual_seed(seed)
        self.bad = torch.zeros(operator.replicas, dtype=torch.bool, device=operator.device)
        self.products = 0
        empty = torch.zeros(
            operator.replicas, 0, operator.size, dtype=operator.dtype, device=operator.device
        )
        self.basis = empty
        self.projected = empty[:, :, :0]
        self.next = self._orthonormal(self._drawn(block))

    @property
    def count(self) -> int:
        """Dimension of the space that has been multiplied."""
        return self.projected.shape[1]

    def grow(self) -> None:
        """Multiply the newest directions and find the next ones."""
        self.basis = torch.cat([self.basis, self.next], dim=1)
        old, new = self.count, self.basis.shape[1]
        found = self.operator(self.next)
        self.products += self.next.shape[1]
        self.bad |= ~torch.isfinite(found).all(dim=(1, 2))
        found = torch.where(self.bad[:, None, None], 0.0, found)
        inner = found @ self.basis.mT
        projected = found.new_zeros(len(found), new, new)
        projected[:, :old, :old] = self.projected
        projected[:, old:, :] = inner
        projected[:, :, old:] = inner.mT
        projected[:, old:, old:] = (inner[:, :, old:] + inner[:, :, old:].mT) / 2
        self.projected = projected
        rest = found - inner @ self.basis
        rest = rest - (rest @ self.basis.mT) @ self.basis
        room = min(self.block, self.operator.size - new)
        self.next = self._orthonormal(rest)[:, :room] if room else rest[:, :0]
        self.left = rest

    def ritz(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return values ascending ``(replicas, m)``, their mixing, and residuals."""
        values, mixing = torch.linalg.eigh(self.projected)
        last = mixing[:, -self.left.shape[1] :, :]
        residuals = torch.linalg.vector_norm(last.mT @ self.left, dim=2)
        return values, mixing, residuals

    def pairs(
        self,
        values: Tensor,
        mixing: Tensor,
        residuals: Tensor,
        places: Sequence[int],
        fine: Tensor,
    ) -> Eigenpairs:
        """Return the pairs at some places, NaN where a product was not finite."""
        bad = self.bad[:, None]
        nan = torch.nan
        vectors = mixing[:, :, list(places)].mT @ self.basis
        return Eigenpairs(
            torch.where(bad, nan, values[:, list(places)]),
            torch.where(bad[:, :, None], nan, vectors),
            torch.where(bad, nan, residuals[:, list(places)]),
            fine & ~bad,
            self.products,
        )

    def _orthonormal(self, rows: Tensor) -> Tensor:
        """Return orthonormal rows that span these, orthogonal to the basis.

        Directions without length (an exhausted space) are replaced by random ones.
        """
        q, r = torch.linalg.qr(rows.mT)
        lengths = r.diagonal(dim1=1, dim2=2).abs()
        scale = self.projected.abs().amax(dim=(1, 2)) if self.count else lengths.amax(1)
        least = 100 * torch.finfo(rows.dtype).eps * scale
        empty = lengths <= least[:, None]
        found = torch.where(empty[:, :, None], self._drawn(rows.shape[1]), q.mT)
        for _ in range(2):
            found = found - (found @ self.basis.mT) @ self.basis
            found = torch.linalg.qr(found.mT)[0].mT
        return found

    def _drawn(self, count: int) -> Tensor:
        made = torch.randn(count, self.operator.size, generator=self.generator, dtype=torch.float64)
        kind = self.operator.dtype
        return made.to(self.operator.device, kind).expand(self.operator.replicas, -1, -1)
