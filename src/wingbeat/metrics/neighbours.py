"""Pieces and loops of a cloud at one scale, counted in steps between nearest neighbours.

A distance in steps ignores how densely a cloud lies and how a layer stretches it, so that one scale
serves all layers of a net.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wingbeat.arguments import as_float64
from wingbeat.errors import RequestError
from wingbeat.metrics.persistence import betti, persistence
from wingbeat.metrics.topology import distances
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.arguments import Points


class BettiNumbers(NamedTuple):
    """How many pieces and how many loops a cloud has."""

    pieces: int
    loops: int


def steps_between(points: Points, neighbours: int) -> Array:
    """Return between each two points the steps from neighbour to neighbour, (n, n).

    Args:
        points: (n, features); copies of a point are neighbours of each other first.
        neighbours: of each point; two are joined if either is among the other's.

    Returns:
        Whole numbers; n where no path leads from one to the other.

    Raises:
        RequestError: no matrix, a value that is not finite, or not 1 to n − 1 neighbours.

    >>> steps_between(np.array([[0.0], [1.0], [2.0], [9.0], [10.0]]), 1)[0]
    array([0., 1., 2., 5., 5.])
    """
    x = as_float64(points)
    if x.ndim != 2 or not np.isfinite(x).all():
        raise RequestError(f"points have shape {x.shape}: give finite (points, features)")
    n = len(x)
    if not 1 <= neighbours < n:
        raise RequestError(f"neighbours is {neighbours}: use 1 to {n - 1}")
    apart = distances(x)
    np.fill_diagonal(apart, -1.0)  # a point comes before its copies
    nearest = np.argsort(apart, axis=1, kind="stable")[:, 1 : neighbours + 1]
    rows = np.repeat(np.arange(n), neighbours)
    from scipy.sparse import csr_array  # late: 0.1 s that other runs need not pay
    from scipy.sparse.csgraph import shortest_path

    joined = csr_array((np.ones(n * neighbours), (rows, nearest.ravel())), shape=(n, n))
    steps = shortest_path(joined, directed=False, unweighted=True)
    return np.asarray(np.where(np.isfinite(steps), steps, n))


def betti_numbers(points: Points, neighbours: int = 14, scale: float = 2.5) -> BettiNumbers:
    """Return pieces and loops of a cloud at a scale in steps between neighbours.

    Args:
        points: (n, features), at most 1,000 of them.
        neighbours: of each point.
        scale: in steps; at 2.5 points up to two steps apart are joined.

    Raises:
        RequestError: gudhi is not installed, or as `steps_between` and
            `wingbeat.metrics.persistence.persistence`.

    Source: Naitzat, Zhitnikov and Lim, arXiv 2004.06093, with its 14 neighbours and scale 2.5.

    >>> turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    >>> betti_numbers(np.c_[np.cos(turn), np.sin(turn)], 2)  # doctest: +SKIP
    BettiNumbers(pieces=1, loops=1)
    """
    diagram = persistence(steps_between(points, neighbours), (0, 1), largest=scale)
    return BettiNumbers(betti(diagram, scale, 0), betti(diagram, scale, 1))
