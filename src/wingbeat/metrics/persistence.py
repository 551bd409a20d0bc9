"""Persistent homology of a cloud of points: loops and voids beside connectedness.

Needs gudhi (``pip install "wingbeat[topology]"``). Always from a matrix of distances in float64:
routines that make distances from inner products turn coinciding points into spurious bars.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from wingbeat.arguments import as_float64
from wingbeat.errors import RequestError
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MOST: Final = 1000
"""Points above which bars are refused: memory grows with their cube at worst (1.4 GB at 1,000)."""


@dataclass(frozen=True)
class Diagram:
    """Bars of a filtration by diameter, coefficients in Z/2.

    Attributes:
        births: (bars,), ascending within a dimension.
        deaths: (bars,); infinite for the component that never dies. Bars of length 0 are left out.
        dimension: (bars,): 0 components, 1 loops, 2 voids.
    """

    births: Array
    deaths: Array
    dimension: NDArray[np.int64]

    def of(self, dimension: int) -> Array:
        """Return the bars of one dimension as (bars, 2), births and deaths."""
        own = self.dimension == dimension
        return np.stack([self.births[own], self.deaths[own]], axis=1)

    def lengths(self, dimension: int) -> Array:
        """Return the lengths of the finite bars of one dimension, longest first."""
        bars = self.of(dimension)
        finite = bars[np.isfinite(bars[:, 1])]
        return np.sort(finite[:, 1] - finite[:, 0])[::-1]


def persistence(
    apart: Array, dimensions: Sequence[int] = (0, 1), *, largest: float = np.inf, most: int = MOST
) -> Diagram:
    """Return the persistence diagram of a matrix of distances.

    Args:
        apart: (n, n), distances.
        dimensions: which to compute; 2 costs much more than 1.
        largest: distances above it join nothing.
        most: points that are accepted.

    Raises:
        RequestError: gudhi is not installed, the matrix is no finite square one, or there are more
            than ``most`` points (take landmarks).

    Source: Vietoris–Rips filtration; computed by gudhi's Ripser.

    >>> corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> from wingbeat.metrics.topology import distances
    >>> persistence(distances(corners)).of(1).round(4)  # doctest: +SKIP
    array([[1.    , 1.4142]])
    """
    apart = as_float64(apart, "distances")
    if apart.ndim != 2 or apart.shape[0] != apart.shape[1] or not np.isfinite(apart).all():
        raise RequestError(f"distances have shape {apart.shape}: give a finite (n, n)")
    if len(apart) > most:
        raise RequestError(
            f"{len(apart)} points are more than {most}: take landmarks, which say how far off "
            "the diagram can be"
        )
    found = _ripser(dimensions, largest).fit_transform([apart])[0]
    bars = [np.asarray(b, dtype=np.float64).reshape(-1, 2) for b in found]
    bars = [b[np.lexsort((b[:, 1], b[:, 0]))] for b in bars]
    own = np.repeat(np.asarray(dimensions, dtype=np.int64), [len(b) for b in bars])
    joined = np.concatenate(bars)
    return Diagram(joined[:, 0], joined[:, 1], own)


def _ripser(dimensions: Sequence[int], largest: float) -> Any:
    return gudhi("sklearn.rips_persistence").RipsPersistence(
        homology_dimensions=list(dimensions),
        threshold=largest,
        input_type="full distance matrix",
        homology_coeff_field=2,  # its default is Z/11
    )


def gudhi(module: str) -> Any:
    """Return a module of gudhi.

    Raises:
        RequestError: it is not installed.
    """
    try:
        return import_module(f"gudhi.{module}")
    except ImportError as error:
        msg = f"loops need the package gudhi ({error}): pip install 'wingbeat[topology]'"
        raise RequestError(msg) from error


def betti(diagram: Diagram, scale: float, dimension: int = 0) -> int:
    """Return how many bars of a dimension live at a scale: born at or before it, not yet dead.

    >>> bars = Diagram(np.array([0.0, 0.0]), np.array([1.0, np.inf]), np.array([0, 0]))
    >>> betti(bars, 0.5), betti(bars, 1.0)
    (2, 1)
    """
    bars = diagram.of(dimension)
    return int(((bars[:, 0] <= scale) & (scale < bars[:, 1])).sum())


def total_persistence(diagram: Diagram, dimension: int = 1, power: float = 1.0) -> float:
    """Return Σ length^power over the finite bars of a dimension; the infinite bar is left out.

    >>> bars = Diagram(np.array([0.0, 0.0]), np.array([2.0, np.inf]), np.array([0, 0]))
    >>> total_persistence(bars, 0), total_persistence(bars, 0, power=2)
    (2.0, 4.0)
    """
    return float((diagram.lengths(dimension) ** power).sum())


def longest(diagram: Diagram, dimension: int = 1) -> float:
    """Return the length of the longest finite bar of a dimension, 0 where there is none.

    >>> longest(Diagram(np.array([1.0]), np.array([3.0]), np.array([1])))
    2.0
    """
    return float(diagram.lengths(dimension).max(initial=0.0))
