"""How different the predictions of two models are, beyond which class wins."""

from __future__ import annotations

from math import log, nan
from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat import special
from wingbeat.arguments import as_float64, points_of
from wingbeat.errors import RequestError
from wingbeat.metrics.disagreement import require_leading
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wingbeat.arguments import Points


LN2: Final = log(2.0)


def kl(a: Points, b: Points) -> Array:
    """Return the Kullback–Leibler divergence KL(p_a ‖ p_b) of predictions, averaged over samples.

    Args:
        a: logits ``(..., samples, classes)``; p is their softmax.
        b: likewise; leading axes broadcast.

    Returns:
        ``(...)`` in nats, ≥ 0, 0 = the same probabilities; not symmetric. NaN where a logit is
        not finite or there is no sample.

    Raises:
        RequestError: scores without a class axis, or different numbers of samples or classes.

    Source: Kullback and Leibler (1951).

    >>> p, q = np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]])
    >>> round(float(kl(p, q)), 6)
    0.143841
    """
    first, second, defined = _log_probabilities(a, b)
    each = (np.exp(first) * (first - second)).sum(axis=-1)
    return _mean(np.maximum(each, 0.0), defined)  # rounding may leave −1e-17


def js(a: Points, b: Points) -> Array:
    """Return the Jensen–Shannon divergence of predictions, averaged over samples.

    ½ KL(p ‖ m) + ½ KL(q ‖ m) with m the mean of p and q.

    Args and errors as in `kl`.

    Returns:
        ``(...)`` in nats, in [0, ln 2], 0 = the same probabilities, ln 2 = disjoint; symmetric.
        NaN as in `kl`.

    Source: Lin, Divergence measures based on the Shannon entropy (1991).

    >>> p, q = np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]])
    >>> round(float(js(p, q)), 6)
    0.033822
    """
    first, second, defined = _log_probabilities(a, b)
    # ln(p/m) from the difference of the logarithms: exactly 0 where they are equal.
    left = np.exp(first) * (LN2 - np.logaddexp(0.0, second - first))
    right = np.exp(second) * (LN2 - np.logaddexp(0.0, first - second))
    each = 0.5 * (left + right).sum(axis=-1)
    return _mean(np.clip(each, 0.0, LN2), defined)


def logit_correlation(a: Points, b: Points) -> Array:
    """Return Pearson's correlation of two models' logits over all samples and classes.

    Each sample's mean logit is taken off first, because a shift of all its logits changes no
    probability.

    Args and errors as in `kl`.

    Returns:
        ``(...)`` in [−1, 1], no unit, 1 = the same up to one positive factor. NaN as in `kl`,
        and where a model's logits do not vary.

    Source: as one of the measures of Summers and Dinneen, arXiv 2103.04514.

    >>> x = np.array([[1.0, 2.0, 4.0], [0.0, -1.0, 3.0]])
    >>> float(logit_correlation(x, 2 * x + np.array([[5.0], [7.0]])))
    1.0
    """
    return correlation_of(centred_products(a, b))


def centred_products(a: Points, b: Points) -> Array:
    """Return Σ a·a, Σ b·b and Σ a·b of logits less each sample's mean, ``(..., 3)``.

    They add up over batches of samples; `correlation_of` makes the correlation of the sums.

    Args and errors as in `kl`. NaN where a logit is not finite.

    >>> centred_products(np.array([[1.0, 3.0]]), np.array([[2.0, 0.0]]))
    array([ 2.,  2., -2.])
    """
    first, second = _scores(a, b)
    with np.errstate(invalid="ignore"):
        first, second = _centred(first), _centred(second)
        pairs = ((first, first), (second, second), (first, second))
        sums = [np.einsum("...sc,...sc->...", x, y) for x, y in pairs]
    return np.stack(np.broadcast_arrays(*sums), axis=-1)


def _centred(scores: Array) -> Array:
    # Equal logits are exactly centred: their mean may be off in its last bit.
    flat = scores.max(axis=-1, keepdims=True) == scores.min(axis=-1, keepdims=True)
    return np.where(flat, 0.0, scores - scores.mean(axis=-1, keepdims=True))


def correlation_of(products: Array) -> Array:
    """Return the correlation from the sums of `centred_products`, ``(..., 3)`` to ``(...)``.

    >>> float(correlation_of(np.array([4.0, 4.0, -2.0])))
    -0.5
    """
    own, other, both = np.moveaxis(as_float64(products), -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = both / (np.sqrt(own) * np.sqrt(other))  # two roots: no overflow
        defined = (own > 0.0) & (other > 0.0)
    return np.where(defined, np.clip(value, -1.0, 1.0), nan)


def log_probabilities(scores: Points) -> Array:
    """Return the logarithms of the softmax over the last axis in float64, same shape.

    NaN for a sample with a score that is not finite.

    >>> log_probabilities(np.array([0.0, 0.0])).round(4)
    array([-0.6931, -0.6931])
    """
    wide = as_float64(scores)
    finite = np.isfinite(wide).all(axis=-1, keepdims=True)
    safe = np.where(finite, wide, 0.0)
    return np.where(finite, special.log_softmax(safe, axis=-1), nan)


def _scores(a: Points, b: Points) -> tuple[Array, Array]:
    a, b = points_of(a, "a"), points_of(b, "b")
    if len(a.shape) < 2 or len(b.shape) < 2 or a.shape[-1] == 0:
        raise RequestError(
            f"scores have shapes {tuple(a.shape)} and {tuple(b.shape)}; give "
            "(..., samples, classes)"
        )
    if tuple(a.shape[-2:]) != tuple(b.shape[-2:]):
        raise RequestError(
            f"scores have shapes {tuple(a.shape)} and {tuple(b.shape)}; give both models the "
            "same samples and classes"
        )
    require_leading(a, b)
    return as_float64(a), as_float64(b)


def _log_probabilities(a: Points, b: Points) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return both models' log-probabilities, 0 where undefined, and where both are defined."""
    first, second = (log_probabilities(x) for x in _scores(a, b))
    defined = np.isfinite(first).all(axis=(-2, -1)) & np.isfinite(second).all(axis=(-2, -1))
    return np.nan_to_num(first), np.nan_to_num(second), np.asarray(defined)


def _mean(each: Array, defined: NDArray[np.bool_]) -> Array:
    if not each.shape[-1]:
        return np.full(each.shape[:-1], nan)
    return np.asarray(np.where(defined, each.mean(axis=-1), nan))
