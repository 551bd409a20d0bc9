"""In how many predictions two models differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wingbeat.arguments import as_float64, points_of
from wingbeat.errors import RequestError
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wingbeat.arguments import Points


def disagreement(a: Points, b: Points) -> Array:
    """Return the share of samples on which the arg max of two models differs.

    Args:
        a: scores ``(..., samples, classes)``: logits or probabilities, ties go to the first.
        b: likewise; leading axes broadcast.

    Returns:
        ``(...)`` in [0, 1], no unit, 0 = same prediction everywhere. NaN where a model has a
        score that is not finite or there is no sample.

    Raises:
        RequestError: for scores without a class axis or different numbers of samples/classes.

    Source: churn, Milani Fard et al. (2016); Fort, Hu and Lakshminarayanan, arXiv 1912.02757.

    >>> float(disagreement(np.array([[2.0, 1.0], [0.0, 1.0]]), np.array([[2.0, 1.0], [1.0, 0.0]])))
    0.5
    """
    a, b = points_of(a, "a"), points_of(b, "b")
    if tuple(a.shape[-2:]) != tuple(b.shape[-2:]):
        raise RequestError(
            f"scores have shapes {tuple(a.shape)} and {tuple(b.shape)}; give both models the "
            "same samples and classes"
        )
    first, first_ok = _predictions(a)
    second, second_ok = _predictions(b)
    require_leading(a, b)
    return _share(first != second, first_ok & second_ok)


def pairwise_disagreement(scores: Points) -> Array:
    """Return `disagreement` of every pair of N models.

    Args:
        scores: ``(N, samples, classes)``.

    Returns:
        ``(N, N)``, symmetric, in [0, 1], the diagonal 0. NaN as in `disagreement`.

    >>> pairwise_disagreement(np.array([[[1.0, 0.0]], [[0.0, 1.0]]]))
    array([[0., 1.],
           [1., 0.]])
    """
    scores = points_of(scores, "scores")
    if scores.ndim != 3:
        raise RequestError(
            f"scores have shape {tuple(scores.shape)}; give (models, samples, classes)"
        )
    chosen, ok = _predictions(scores)
    return _share(chosen[:, None] != chosen[None], ok[:, None] & ok[None])


def _predictions(scores: Points) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return arg max ``(..., samples)`` and, per model, whether all scores are finite."""
    if scores.ndim < 2 or scores.shape[-1] == 0:
        raise RequestError(f"scores have shape {tuple(scores.shape)}; give (..., samples, classes)")
    # torch.argmax promises no order among ties; numpy takes the first.
    wide = scores if isinstance(scores, np.ndarray) else as_float64(scores)
    return wide.argmax(axis=-1), np.asarray(np.isfinite(wide).all(axis=(-2, -1)))


def require_leading(a: Points, b: Points) -> None:
    """Refuse scores of two models whose leading axes do not broadcast.

    >>> require_leading(np.zeros((2, 5, 3)), np.zeros((4, 5, 3)))
    Traceback (most recent call last):
    wingbeat.errors.RequestError: scores have shapes (2, 5, 3) and (4, 5, 3); give leading axes \
that broadcast
    """
    shapes = tuple(a.shape), tuple(b.shape)
    try:
        np.broadcast_shapes(shapes[0][:-2], shapes[1][:-2])
    except ValueError:
        raise RequestError(
            f"scores have shapes {shapes[0]} and {shapes[1]}; give leading axes that broadcast"
        ) from None


def _share(differs: NDArray[np.bool_], defined: NDArray[np.bool_]) -> Array:
    if not differs.shape[-1]:
        return np.full(differs.shape[:-1], np.nan)
    return np.asarray(np.where(defined, differs.mean(axis=-1), np.nan))
