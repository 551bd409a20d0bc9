"""Second-order facts about checkpoints: what tables, pictures and scalars are made of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wingbeat.metrics import spread_from_gram, squared_distances, trajectory_pca
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wingbeat.checkpoints.names import Shared
    from wingbeat.metrics import PCA


@dataclass(frozen=True)
class WeightMoments:
    """Second-order facts about L tensors of n checkpoints, w₀ being the first.

    Attributes:
        names: of the tensors.
        numbers: count of numbers in each, (L,).
        norm2: |w₀|², (L,).
        cross: ⟨w₀, wᵢ − w₀⟩, (L, n).
        apart2: |wᵢ − w₀|², (L, n).
        variance: Σ Var_i over all checkpoints (ddof 0), (L,).
        gram: inner products of wᵢ − w₀ over all tensors, (n, n).
    """

    names: tuple[str, ...]
    numbers: NDArray[np.int64]
    norm2: Array
    cross: Array
    apart2: Array
    variance: Array
    gram: Array

    @classmethod
    def empty(cls, shared: Sequence[Shared], count: int) -> WeightMoments:
        """Make room for the moments of some tensors."""
        many = len(shared)
        return cls(
            names=tuple(t.name for t in shared),
            numbers=np.array([t.numbers for t in shared], dtype=np.int64),
            norm2=np.zeros(many),
            cross=np.zeros((many, count)),
            apart2=np.zeros((many, count)),
            variance=np.zeros(many),
            gram=np.zeros((count, count)),
        )

    def take(self, place: int, product: Array) -> None:
        """Fill in one tensor from the products of w₀ and all wᵢ − w₀."""
        self.norm2[place] = product[0, 0]
        self.cross[place, 1:] = product[0, 1:]
        inner = product.copy()
        inner[0, :] = inner[:, 0] = 0.0
        if not np.isfinite(product[0, 0]):
            inner[:] = np.nan
        self.apart2[place] = np.diagonal(inner)
        self.variance[place] = spread_from_gram(inner) ** 2
        self.gram[:] += inner

    @property
    def l2(self) -> Array:
        """Distance of each to the first, (n,), weight, ≥ 0, 0 = identical (exactly)."""
        return np.asarray(np.sqrt(self.apart2.sum(axis=0)))

    @property
    def relative_l2(self) -> Array:
        """That distance ÷ the norm of the first, (n,), ≥ 0, 0 = identical; NaN if it is 0."""
        return ratio(self.l2, np.sqrt(self.norm2.sum()))

    @property
    def cosine(self) -> Array:
        """Cosine of the angle to the first, (n,), in [−1, 1], 1 = same direction."""
        return cosines(self.norm2.sum(), self.cross.sum(axis=0), self.apart2.sum(axis=0))

    @property
    def distances(self) -> Array:
        """Distances of all pairs, (n, n), weight, ≥ 0, 0 = identical."""
        return np.asarray(np.sqrt(squared_distances(self.gram)))

    def pca(self, k: int) -> PCA:
        """Return the coordinates of the checkpoints along ``k`` leading principal components.

        Raises:
            RequestError: for k outside 1 … n.
        """
        return trajectory_pca(self.gram, k, precomputed=True)


def cosines(norm2: Any, cross: Array, apart2: Array) -> Array:
    """Return cosines to w₀ from |w₀|², ⟨w₀, d⟩ and |d|² with d the difference from w₀.

    >>> cosines(1.0, np.array([0.0, -1.0]), np.array([0.0, 2.0])).tolist()
    [1.0, 0.0]
    """
    inner, own2 = norm2 + cross, norm2 + 2.0 * cross + apart2
    with np.errstate(invalid="ignore", divide="ignore"):
        value = inner / (np.sqrt(norm2) * np.sqrt(np.maximum(own2, 0.0)))
    return np.clip(np.where(np.isfinite(value), value, np.nan), -1.0, 1.0)


def layer_of(name: str) -> str:
    """Return the block that a tensor belongs to: its name as far as its first number.

    >>> layer_of("model.layers.3.attn.q.weight"), layer_of("conv1.weight"), layer_of("scale")
    ('model.layers.3.*', 'conv1.*', '')
    """
    match = re.match(r"(.*?\.)?[0-9]+(?=\.)", name)
    found = match[0] if match else name.rpartition(".")[0]
    return f"{found}.*" if found else ""


def ratio(above: Array, below: Any) -> Array:
    """Return a quotient, NaN where it is undefined or infinite.

    >>> ratio(np.array([1.0, 1.0]), np.array([2.0, 0.0])).tolist()
    [0.5, nan]
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        value = above / below
    return np.where(np.isfinite(value), value, np.nan)
