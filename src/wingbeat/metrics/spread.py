"""How far a group of replicas lies apart, in full weight space."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Literal

import numpy as np

from wingbeat.arguments import as_float64, one_of, points_of, real_number
from wingbeat.errors import RequestError
from wingbeat.metrics.blocks import blocks, require_axes
from wingbeat.metrics.gram import moved_to, squared_distances
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.arguments import Points


def spread(points: Points) -> Array:
    """Return √(Σ_p Var_i w_ip), the root of the summed variances over replicas (ddof 0).

    It equals the root mean squared distance of the replicas from their mean.

    Args:
        points: ``(..., N, P)``.

    Returns:
        ``(...)``, unit weight, ≥ 0, 0 = identical (exactly). NaN below two replicas, because
        one point has no spread, and where a weight is not finite.

    Raises:
        RequestError: for fewer than two axes.

    Source: wingbeat definition (design, section 7).

    >>> float(spread(np.array([[0.0, 1.0], [0.0, 3.0]])))
    1.0
    """
    points = points_of(points)
    require_axes(points, 2, "(..., replicas, parameters)")
    lead, n = tuple(points.shape[:-2]), points.shape[-2]
    if n < 2:
        return np.full(lead, nan)
    total = np.zeros(lead)
    with np.errstate(invalid="ignore", over="ignore"):
        for block in blocks(points):
            moved = moved_to(block, "mean")
            total += np.einsum("...np,...np->...", moved, moved)
    return np.asarray(np.sqrt(total / n))


def spread_from_gram(
    g: Array,
    weights: Array | None = None,
    *,
    ties: Literal["keep", "drop"] = "keep",
) -> Array:
    """Return the spread from Gram matrices, for many bootstrap weightings at once.

    Uses Σ_ij u_i u_j |w_i − w_j|² / 2 with u the weights divided by their sum, so identical
    replicas give exactly 0.

    Args:
        g: ``(..., N, N)``, one Gram matrix per step, its origin anywhere near the replicas.
        weights: ``(draws, N)`` multiplicities; a weight of 2 counts a replica twice.
        ties: "keep" takes a replica that was drawn twice as two identical replicas, as the
            plain bootstrap does, which lowers every spread by about 1 − 1/N of its square.
            "drop" averages over pairs of different replicas instead and scales to ddof 0:
            use it for the interval of a spread. A ratio of two spreads is the same either way.

    Returns:
        ``(...)``, or ``(draws, ...)`` with weights; unit weight, ≥ 0, 0 = identical. NaN below
        two replicas and, under "drop", where only one replica was drawn.

    Raises:
        RequestError: for shapes that disagree or an unknown ``ties``.

    >>> g = np.array([[0.0, 0.0], [0.0, 4.0]])
    >>> spread_from_gram(g), spread_from_gram(g, np.array([[1.0, 1.0], [2.0, 0.0]]))
    (array(1.), array([1., 0.]))
    """
    one_of(ties, "ties", ("keep", "drop"))
    squares = squared_distances(g)
    n = squares.shape[-1]
    counts = None if weights is None else as_float64(weights, "weights")
    if counts is not None and (counts.ndim != 2 or counts.shape[1] != n):
        raise RequestError(f"weights have shape {counts.shape}; give (draws, {n})")
    if n < 2:
        lead = squares.shape[:-2]
        return np.full(lead if counts is None else (len(counts), *lead), nan)
    if counts is None:
        return np.asarray(np.sqrt(squares.sum(axis=(-2, -1)) / 2.0) / n)
    # (draws, N) @ (..., N, N): one matrix product per step, then a dot per draw.
    pairs = np.einsum("...dn,dn->d...", counts @ squares, counts)
    total = counts.sum(axis=1) ** 2
    if ties == "drop":
        total = (total - (counts**2).sum(axis=1)) * (n / (n - 1))
    total = total.reshape(-1, *[1] * (pairs.ndim - 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.sqrt(np.where(total > 0.0, pairs / (2.0 * total), nan)))


def convergence_ratio(points: Points) -> float:
    """Return the last spread divided by the first, in full weight space.

    Args:
        points: ``(T, N, P)``, T snapshots of N replicas.

    Returns:
        A float ≥ 0, no unit; < 1 = the replicas come closer, > 1 = they part. NaN if the first
        spread is 0, below two snapshots or two replicas, or where a weight is not finite.

    Source: wingbeat definition (design, section 7). deep-lyapunov 0.1.2 calls another number
    by this name, see `wingbeat.metrics.legacy_ratio`.

    >>> convergence_ratio(np.array([[[0.0], [1.0]], [[5.0], [5.5]]]))
    0.5
    """
    points = points_of(points)
    if points.ndim != 3:
        raise RequestError(
            f"points have shape {tuple(points.shape)}; give (snapshots, replicas, parameters)"
        )
    if points.shape[0] < 2:
        return nan
    return ratio_of(float(spread(points[0])), float(spread(points[-1])))


def ratio_of(first: float, last: float) -> float:
    """Return last ÷ first; NaN if first is zero or either is not finite.

    >>> ratio_of(2.0, 1.0), ratio_of(0.0, 1.0)
    (0.5, nan)
    """
    first = real_number(first, "first", "give a number", finite=False)
    last = real_number(last, "last", "give a number", finite=False)
    if not (np.isfinite(first) and np.isfinite(last)) or first == 0.0:
        return nan
    return float(last / first)
