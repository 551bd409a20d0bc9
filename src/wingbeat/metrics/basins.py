"""Which models lie in the same basin: clusters of a matrix of barriers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np

from wingbeat.arguments import as_float64, one_of, real_number, shown
from wingbeat.errors import RequestError
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


Method = Literal["complete", "average", "single"]
METHODS: Final = get_args(Method)
ERROR_THRESHOLD: Final = 0.02
"""Error barrier up to which two models count as one basin: 2 points of error."""


@dataclass(frozen=True)
class Basins:
    """N models grouped by the barriers between them.

    Attributes:
        labels: ``(N,)``, the basin of each model, numbered from 0 by its first model; −1 where
            a barrier of the model is undefined.
        linkage: ``(M − 1, 4)`` merges of the M models that have all barriers, in SciPy's form
            (two clusters, height, size), counting those models only.
        members: the places of those M models.
        threshold: the largest barrier within a basin.
    """

    labels: NDArray[np.int64]
    linkage: Array
    members: NDArray[np.int64]
    threshold: float

    @property
    def count(self) -> int:
        """How many basins there are."""
        return int(self.labels.max(initial=-1)) + 1

    def order(self) -> NDArray[np.int64]:
        """Return the places of the models in the order of the dendrogram's leaves."""
        if len(self.members) < 2:
            return self.members
        order: NDArray[np.int64] = _hierarchy().leaves_list(self.linkage)
        return self.members[order]


@dataclass(frozen=True)
class Tree:
    """A dendrogram as corners of lines.

    Attributes:
        leaves: names from left to right, at x = 0, 1, 2, …
        x: ``(merges, 4)`` left foot, left corner, right corner, right foot.
        height: ``(merges, 4)``, in units of the barrier.
    """

    leaves: tuple[str, ...]
    x: Array
    height: Array


def basins(
    barriers: ArrayLike, threshold: float = ERROR_THRESHOLD, method: Method = "complete"
) -> Basins:
    """Group models into basins by hierarchical clustering of their barriers.

    Args:
        barriers: ``(N, N)``, symmetric, diagonal 0; as the error or loss barriers of all pairs.
            A model with an undefined (NaN) barrier to a model that has others is left out.
        threshold: models stay together up to this barrier. The default is an error barrier of
            2 points; a loss barrier needs a number of its own.
        method: "complete": no two models of a basin have a higher barrier. "single": models are
            linked by chains of low barriers. "average": by the mean barrier between clusters.

    Returns:
        The basins; see `Basins`.

    Raises:
        RequestError: a matrix that is not square and symmetric with a zero diagonal, a negative
            or infinite barrier, a negative threshold, an unknown method.

    Source: "linear mode connectivity" as an equivalence: Frankle et al., arXiv 1912.05671
    (stable below 2 % error); complete linkage: Defays (1977).

    >>> found = basins([[0, 0.01, 0.5], [0.01, 0, 0.4], [0.5, 0.4, 0]])
    >>> found.labels, found.count
    (array([0, 0, 1]), 2)
    """
    matrix = _checked(barriers)
    threshold = real_number(threshold, "threshold", "give a barrier of at least 0", finite=False)
    if not threshold >= 0.0:
        raise RequestError(f"threshold is {threshold!r}; give a barrier of at least 0")
    one_of(method, "method", METHODS)
    members = _complete(matrix)
    labels = np.full(len(matrix), -1, dtype=np.int64)
    linkage = np.zeros((0, 4))
    if members.size == 1:
        labels[members] = 0
    elif members.size > 1:
        linkage = _hierarchy().linkage(_pairs(matrix[np.ix_(members, members)]), method)
        found = _hierarchy().fcluster(linkage, threshold, criterion="distance")
        labels[members] = _by_first(found)
    return Basins(labels, linkage, members, float(threshold))


def dendrogram(found: Basins, names: Sequence[str]) -> Tree:
    """Return the dendrogram of basins as lines, for any drawing library.

    Args:
        found: from `basins`.
        names: of all N models.

    Raises:
        RequestError: another number of names than models.

    >>> dendrogram(basins([[0, 1], [1, 0]]), ["a", "b"]).height
    array([[0., 1., 1., 0.]])
    """
    if not isinstance(found, Basins):
        raise RequestError(f"found is {shown(found)}: give what basins() returns")
    if isinstance(names, str | bytes) or not isinstance(names, Sequence):
        raise RequestError(f"names is {shown(names)}: give a list of names, one for each model")
    if len(names) != len(found.labels):
        raise RequestError(f"{len(names)} names for {len(found.labels)} models; give one each")
    leaves = tuple(names[i] for i in found.order())
    if len(found.members) < 2:
        return Tree(leaves, np.zeros((0, 4)), np.zeros((0, 4)))
    drawn = _hierarchy().dendrogram(found.linkage, no_plot=True)
    # SciPy puts the leaves at 5, 15, 25, …
    return Tree(leaves, (np.array(drawn["icoord"]) - 5.0) / 10.0, np.array(drawn["dcoord"]))


def _hierarchy() -> Any:
    """Return SciPy's module late: it takes a tenth of a second that other runs need not pay."""
    from scipy.cluster import hierarchy

    return hierarchy


def _pairs(matrix: Array) -> Array:
    """Return the entries above the diagonal of a symmetric matrix, row by row."""
    return matrix[np.triu_indices(len(matrix), 1)]


def _checked(barriers: ArrayLike) -> Array:
    matrix = as_float64(barriers, "barriers")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise RequestError(f"barriers have shape {matrix.shape}; give (models, models)")
    known = ~np.isnan(matrix)
    if (matrix[known] < 0).any() or np.isinf(matrix).any():
        raise RequestError("a barrier is negative or infinite; give finite ones, NaN if undefined")
    if np.nan_to_num(np.diagonal(matrix)).any():
        raise RequestError("a model has a barrier to itself; the diagonal must be 0")
    if not np.allclose(matrix, matrix.T, rtol=1e-9, atol=1e-12, equal_nan=True):
        raise RequestError("the barriers are not symmetric; give each pair the same both ways")
    return 0.5 * (matrix + matrix.T)


def _complete(matrix: Array) -> NDArray[np.int64]:
    """Return models all of whose barriers among each other are known: the worst leave first."""
    kept = np.arange(len(matrix))
    missing = np.isnan(matrix)
    while kept.size and missing[np.ix_(kept, kept)].any():
        kept = np.delete(kept, np.argmax(missing[np.ix_(kept, kept)].sum(axis=1)))
    return kept


def _by_first(clusters: NDArray[np.signedinteger]) -> list[int]:
    """Number clusters by their first model.

    SciPy's numbers follow the tree, which is no order that a reader could see.
    """
    numbers: dict[int, int] = {}
    return [numbers.setdefault(int(cluster), len(numbers)) for cluster in clusters]
