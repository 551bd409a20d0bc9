"""Kernels of one training at several steps: how they turn, grow, and fit the labels."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.arguments import as_float64
from wingbeat.errors import RequestError
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray


def kernel_distance(first: Array, second: Array, *, centred: bool = False) -> float:
    """Return 1 − cosine between two kernel matrices, as vectors of their entries.

    Args:
        first: (n, n), symmetric.
        second: (n, n) on the same samples.
        centred: whether rows and columns are centred first; then it is 1 − biased CKA. Kernels that
            are not are dominated by one common direction, which hides change.

    Returns:
        No unit, in [0, 1] for kernels without negative eigenvalues, 0 = the same up to a factor
        (exactly 0 for equal ones): a kernel that only grows has not moved. NaN where one is 0 or
        not finite.

    Raises:
        RequestError: shapes that do not fit.

    Source: Fort et al., arXiv 2010.15110; Zhou et al., arXiv 2505.13900.

    >>> kernel_distance(np.eye(2), 4 * np.eye(2)), kernel_distance(np.diag([1.0, 0]), np.eye(2))
    (0.0, 0.2928932188134524)
    """
    a, b = _pair(first, second, centred)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        # Half the squared distance of unit vectors: small distances keep their digits.
        return float(np.sum((a / np.linalg.norm(a) - b / np.linalg.norm(b)) ** 2)) / 2


def kernel_angle(first: Array, second: Array, *, centred: bool = False) -> float:
    """Return the angle between two kernels in radian, in [0, π/2], 0 = the same up to a factor.

    Arguments, errors and NaN as in `kernel_distance`.

    >>> round(kernel_angle(np.diag([1.0, 0]), np.eye(2)), 6)  # 45 degrees
    0.785398
    """
    chord = np.sqrt(2 * kernel_distance(first, second, centred=centred))
    return float(2 * np.arcsin(np.minimum(1.0, chord / 2)))


def alignment(kernel: Array, labels: NDArray[np.int64], *, centred: bool = True) -> float:
    """Return how well a kernel fits the classes: its cosine with the kernel of the labels.

    Args:
        kernel: (n, n).
        labels: class of each sample.
        centred: whether both are centred first (one-hot labels), which makes it the biased CKA of
            kernel and labels. Without, two classes are taken as ±1: yᵀKy ÷ (‖K‖ n).

    Returns:
        No unit, at most 1 = a block for each class and nothing else. NaN with one class, or where
        the kernel is 0.

    Raises:
        RequestError: shapes that do not fit, or several classes that are not centred.

    Source: Baratin et al., arXiv 2008.00938.

    >>> y = np.array([0, 1, 0, 1])
    >>> round(alignment(np.outer(2 * y - 1.0, 2 * y - 1.0), y), 12)
    1.0
    >>> alignment(np.eye(4), y, centred=False)
    0.5
    """
    classes = np.unique(labels)
    if len(classes) < 2:
        return nan
    if not centred and len(classes) != 2:
        raise RequestError(f"{len(classes)} classes: use centred=True, which takes any number")
    y = np.where(labels[:, None] == classes, 1.0, 0.0) if centred else None
    target = np.outer(s := np.where(labels == classes[1], 1.0, -1.0), s) if y is None else y @ y.T
    a, b = _pair(kernel, target, centred)
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.sum(a * b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def effective_rank(kernel: Array) -> float:
    """Return (tr K)² ÷ ‖K‖², in [1, n]: how many directions carry the kernel. NaN where it is 0.

    >>> effective_rank(np.eye(5)), effective_rank(np.ones((3, 3)))
    (5.0, 1.0)
    """
    a, _ = _pair(kernel, kernel, False)
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.trace(a) ** 2 / np.sum(a * a))


@dataclass(frozen=True)
class Elasticity:
    """How strongly an update on a sample acts on others, relative to its effect on itself.

    Attributes:
        within: mean over pairs of different samples of one class.
        between: mean over pairs of samples of different classes.
    """

    within: float
    between: float

    @property
    def ratio(self) -> float:
        """``within`` ÷ ``between``; 1 = not locally elastic, NaN where ``between`` is not above 0.

        >>> Elasticity(0.6, 0.5).ratio
        1.2
        """
        return self.within / self.between if self.between > 0 else nan


def elasticity(kernel: Array) -> Array:
    """Return S(x', x) = |Θ(x', x)| ÷ Θ(x, x), the effect on row x' of an update on column x.

    The limit of ‖f(x'; w⁺) − f(x'; w)‖ ÷ ‖f(x; w⁺) − f(x; w)‖ for small steps of a model with one
    output, w⁺ being one update on x. 1 on the diagonal; NaN in columns with Θ(x, x) = 0.

    Source: He and Su, arXiv 1910.06943.

    >>> elasticity(np.array([[1.0, -1.0], [-1.0, 4.0]]))
    array([[1.  , 0.25],
           [1.  , 1.  ]])
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.abs(kernel) / np.diagonal(kernel)[None, :])


def local_elasticity(kernel: Array, labels: NDArray[np.int64]) -> Elasticity:
    """Return the mean elasticity within classes and between them, from the tangent kernel.

    Args:
        kernel: (n, n), the tangent kernel on n samples; of several outputs its mean over them.
        labels: class of each sample.

    Returns:
        `Elasticity`; both NaN where a sample does not act on itself, one where it has no pair.

    Raises:
        RequestError: shapes that do not fit.

    Source: He and Su, arXiv 1910.06943; arXiv 2110.05960.

    >>> kernel = np.array([[1, 0.5, 0.1], [0.5, 1, 0.1], [0.1, 0.1, 1]])
    >>> local_elasticity(kernel, np.array([0, 0, 1]))
    Elasticity(within=0.5, between=0.1)
    """
    _pair(kernel, kernel, False)
    if len(labels) != len(kernel):
        raise RequestError(f"{len(labels)} labels for {len(kernel)} samples: give one a sample")
    effect = elasticity(kernel)
    same = labels[:, None] == labels[None, :]
    own = same & ~np.eye(len(labels), dtype=bool)
    return Elasticity(*(float(effect[w].mean()) if w.any() else nan for w in (own, ~same)))


def _pair(first: Array, second: Array, centred: bool) -> tuple[Array, Array]:
    first, second = as_float64(first, "first"), as_float64(second, "second")
    square = first.ndim == 2 and first.shape[0] == first.shape[1]
    if not square or first.shape != second.shape:
        raise RequestError(
            f"kernels have shapes {first.shape} and {second.shape}: give (n, n) of the same samples"
        )
    return (_centred(first), _centred(second)) if centred else (first, second)


def _centred(k: Array) -> Array:
    rows = k - k.mean(axis=0)
    return np.asarray(rows - rows.mean(axis=1, keepdims=True))
