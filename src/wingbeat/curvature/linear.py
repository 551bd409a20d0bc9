"""Symmetric linear maps that are known by their products with vectors only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from wingbeat.errors import RequestError


@dataclass(frozen=True)
class Operator:
    """Several symmetric matrices (one a replica), known by their products with vectors.

    Args:
        apply: from vectors ``(replicas, vectors, size)`` to their products, of the same shape.
        replicas: how many matrices.
        size: of each matrix.
        dtype: of the vectors.
        device: of the vectors.

    Example:
        >>> operator = Operator.of(torch.diag(torch.tensor([3.0, 1.0])))
        >>> operator(torch.ones(1, 1, 2))
        tensor([[[3., 1.]]])
    """

    apply: Callable[[Tensor], Tensor]
    replicas: int
    size: int
    dtype: torch.dtype = torch.float64
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @classmethod
    def of(cls, matrices: Tensor) -> Operator:
        """Return the operator of symmetric matrices ``(size, size)`` or ``(replicas, size, size)``.

        Raises:
            RequestError: they are not square.
        """
        stack = matrices.unsqueeze(0) if matrices.dim() == 2 else matrices
        if stack.dim() != 3 or stack.shape[1] != stack.shape[2]:
            raise RequestError(f"matrices of shape {tuple(matrices.shape)}: they must be square")
        return cls(lambda v: v @ stack, len(stack), stack.shape[1], stack.dtype, stack.device)

    def __call__(self, vectors: Tensor) -> Tensor:
        """Return the products ``(replicas, vectors, size)``.

        Raises:
            RequestError: the vectors have another shape.
        """
        if vectors.dim() != 3 or vectors.shape[::2] != (self.replicas, self.size):
            msg = (
                f"vectors of shape {tuple(vectors.shape)}: give (replicas, vectors, size) = "
                f"({self.replicas}, …, {self.size})"
            )
            raise RequestError(msg)
        return self.apply(vectors)

    def restricted(self, place: slice) -> Operator:
        """Return the diagonal blocks of a slice of the coordinates, as of one layer.

        Example:
            >>> operator = Operator.of(torch.diag(torch.tensor([3.0, 1.0])))
            >>> operator.restricted(slice(1, 2)).dense()
            tensor([[[1.]]])
        """

        def apply(vectors: Tensor) -> Tensor:
            whole = vectors.new_zeros(*vectors.shape[:2], self.size)
            whole[..., place] = vectors
            return self.apply(whole)[..., place]

        size = len(range(*place.indices(self.size)))
        return Operator(apply, self.replicas, size, self.dtype, self.device)

    def scaled(self, scale: Tensor) -> Operator:
        """Return D^(-1/2) A D^(-1/2), which has the eigenvalues of D^(-1) A.

        Args:
            scale: diagonal of D, positive, ``(size,)`` or ``(replicas, size)``.

        Raises:
            RequestError: an entry of it is not positive.
        """
        if not bool((scale > 0).all()):
            raise RequestError(f"scale holds {float(scale.min())!r}: all entries must be positive")
        root = scale.to(self.dtype).rsqrt().expand(self.replicas, self.size).unsqueeze(1)
        return Operator(
            lambda v: self.apply(v * root) * root,
            self.replicas,
            self.size,
            self.dtype,
            self.device,
        )

    def shifted(self, amount: float) -> Operator:
        """Return A + amount·1, as with an L2 penalty.

        Example:
            >>> Operator.of(torch.zeros(1, 1)).shifted(0.5).dense()
            tensor([[[0.5000]]])
        """
        return Operator(
            lambda v: self.apply(v) + amount * v,
            self.replicas,
            self.size,
            self.dtype,
            self.device,
        )

    def dense(self, *, most: int = 4096) -> Tensor:
        """Return the matrices ``(replicas, size, size)``, symmetrised; for small ones only.

        Raises:
            RequestError: the size is above ``most``.
        """
        if self.size > most:
            raise RequestError(f"{self.size} x {self.size} is too large to write out (most {most})")
        unit = torch.eye(self.size, dtype=self.dtype, device=self.device)
        found = self(unit.expand(self.replicas, -1, -1))
        return (found + found.mT) / 2

    def random(self, vectors: int, seed: int) -> Tensor:
        """Return Gaussian vectors ``(replicas, vectors, size)``, the same for every replica."""
        made = torch.randn(
            vectors, self.size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        )
        return made.to(self.device, self.dtype).expand(self.replicas, -1, -1).clone()
