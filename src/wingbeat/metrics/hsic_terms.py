"""What every estimator of HSIC is made of: inner products of centred Gram matrices.

Notation as in `wingbeat.metrics.cka`: for features X (n samples, d features) centred over the
samples, K = X Xᵀ with diagonal k, and L with diagonal l for another model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import torch

from wingbeat.arguments import as_float64
from wingbeat.metrics.features import centred_features, feature_matrix
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wingbeat.arguments import Points


Estimator = Literal["debiased", "biased", "zero_diagonal"]
BLOCK_NUMBERS: Final = 1 << 22
"""Numbers of the Gram matrices that are held at once: 32 MiB."""


def hsic_of(inner: Array, diagonals: Array, traces: Array, n: int, estimator: Estimator) -> Array:
    """Return HSIC from ⟨K, L⟩, k·l and Σk Σl, of any shape, for n samples.

    For centred features the row sums of K without its diagonal are −k, so that Song's three
    terms become these.
    """
    if estimator == "biased":
        return inner / (n - 1) ** 2
    if estimator == "zero_diagonal":
        return (inner - diagonals) / (n * (n - 1))
    unbiased = inner - diagonals * (n / (n - 2)) + traces / ((n - 1) * (n - 2))
    return unbiased / (n * (n - 3))


def centred_gram(x: Points) -> Array:
    """Return the inner products (samples, samples) of a layer's centred features in float64.

    Features on a CUDA device are multiplied there, and only the products leave it.

    >>> centred_gram(np.array([[1.0], [3.0]]))
    array([[ 1., -1.],
           [-1.,  1.]])
    """
    if isinstance(x, torch.Tensor) and x.device.type == "cuda":
        return _gram_on_device(x)
    centred = _centred(feature_matrix(x))
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(centred @ centred.T)


@dataclass(frozen=True)
class Terms:
    """Inner products of the centred Gram matrices of A and B layers on one minibatch.

    Attributes:
        cross: ⟨K, L⟩, (A, B).
        first: ⟨K, K⟩, (A,).
        second: ⟨L, L⟩, (B,).
        diagonal_first: k, (A, n).
        diagonal_second: l, (B, n).
        same: whether both layers hold the same numbers, (A, B).
    """

    cross: Array
    first: Array
    second: Array
    diagonal_first: Array
    diagonal_second: Array
    same: NDArray[np.bool_]

    @classmethod
    def of_features(cls, xs: Sequence[Points], ys: Sequence[Points]) -> Terms:
        """Return the terms of feature matrices (samples, features), by the cheaper way."""
        n, wide = len(xs[0]), [sum(x.shape[1] for x in part) for part in (xs, ys)]
        squares = sum(x.shape[1] ** 2 for x in (*xs, *ys))
        by_samples = n * (sum(wide) + len(xs) * len(ys))
        inner = _by_samples if by_samples < wide[0] * wide[1] + squares else _by_features
        diagonals = [np.stack([(_centred(x) ** 2).sum(axis=1) for x in part]) for part in (xs, ys)]
        same = np.array([[_same(x, y) for y in ys] for x in xs])
        return cls(*inner(xs, ys), diagonals[0], diagonals[1], same)

    @classmethod
    def of_grams(cls, xs: Array, ys: Array) -> Terms:
        """Return the terms of centred Gram matrices, (A, n, n) and (B, n, n)."""
        a, b = (grams.reshape(len(grams), -1) for grams in (xs, ys))
        diagonals = [np.diagonal(grams, axis1=1, axis2=2) for grams in (xs, ys)]
        same = (xs[:, None, 0] == ys[None, :, 0]).all(axis=-1)  # most differ in the first row
        for i, j in np.argwhere(same):
            same[i, j] = np.array_equal(xs[i], ys[j])
        return cls(a @ b.T, _own(a), _own(b), diagonals[0], diagonals[1], same)


def _by_samples(xs: Sequence[Points], ys: Sequence[Points]) -> tuple[Array, Array, Array]:
    """Take the products over pairs of samples, some rows of the Gram matrices at a time.

    A layer is widened to float64 when its turn comes, so that one at a time is.
    """
    n, (a, b) = len(xs[0]), (len(xs), len(ys))
    cross, first, second = np.zeros((a, b)), np.zeros(a), np.zeros(b)
    height = max(1, BLOCK_NUMBERS // ((a + b) * n))
    for start in range(0, n, height):
        rows = slice(start, start + height)
        one, other = (np.stack([_gram_rows(x, rows) for x in part]) for part in (xs, ys))
        cross += one @ other.T
        first += _own(one)
        second += _own(other)
    return cross, first, second


def _by_features(xs: Sequence[Points], ys: Sequence[Points]) -> tuple[Array, Array, Array]:
    """Take the products over pairs of features: ⟨K, L⟩ = |XᵀY|²; for few of them."""
    one, other = ([_centred(x) for x in part] for part in (xs, ys))
    cross = np.array([[_squared(x, y) for y in other] for x in one])
    own = [np.array([_squared(x, x) for x in part]) for part in (one, other)]
    return cross, own[0], own[1]


def _centred(x: Points) -> Array:
    return centred_features(as_float64(x))


def _gram_rows(x: Points, rows: slice) -> Array:
    centred = _centred(x)
    return np.asarray((centred[rows] @ centred.T).ravel())


def _gram_on_device(x: torch.Tensor) -> Array:
    feature_matrix(x[:1])  # refuses what is no matrix
    moved = x.detach().double() - x[:1].detach().double()
    moved = moved - moved.mean(dim=0, keepdim=True)
    return np.asarray((moved @ moved.T).cpu().numpy())


def _own(grams: Array) -> Array:
    return np.array([np.vdot(gram, gram) for gram in grams])


def _squared(x: Array, y: Array) -> float:
    width = max(1, BLOCK_NUMBERS // y.shape[1])
    total = 0.0
    for start in range(0, x.shape[1], width):
        product = x[:, start : start + width].T @ y
        total += float(np.vdot(product, product))
    return total


def _same(x: Points, y: Points) -> bool:
    """Tell whether two matrices hold the same numbers; most differ in the first row."""
    if tuple(x.shape) != tuple(y.shape):
        return False
    head = bool((as_float64(x[:1]) == as_float64(y[:1])).all())
    return head and bool((as_float64(x) == as_float64(y)).all())
