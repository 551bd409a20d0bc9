"""How far features have turned since an earlier step: unit by unit, and as a kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.errors import RequestError
from wingbeat.metrics.cka import cka
from wingbeat.metrics.features import centred_features, feature_pair, rescaled
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.arguments import Points
    from wingbeat.metrics.hsic_terms import Estimator


def unit_drift(now: Points, then: Points) -> float:
    """Return 1 − the mean over units of the cosine between their responses now and then.

    Args:
        now: features (samples, units) at one step.
        then: features of the same samples and units at an earlier step.

    Returns:
        No unit, in [0, 2]: 0 = no unit has turned (exactly, where the features are the same), 1 on
        average for unrelated units, 2 = every unit's response has changed its sign. Responses are
        centred over the samples; units that do not vary then or now are left out. NaN where none is
        left or a feature is not finite.

    Raises:
        RequestError: the shapes do not fit.

    Source: representational drift of arXiv 2309.04522; the formula is ours.

    >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 5.0]])
    >>> unit_drift(x, x), unit_drift(-x, x)
    (0.0, 2.0)
    """
    cosines = unit_responses(now, then)
    return 1.0 - float(cosines.mean()) if cosines.size else float("nan")


def unit_responses(now: Points, then: Points) -> Array:
    """Return the cosine of each unit's centred responses, of those that vary both times.

    Arguments and errors as in `unit_drift`.

    >>> unit_responses(np.array([[1.0, 3.0], [2.0, 3.0]]), np.array([[5.0, 1.0], [7.0, 2.0]]))
    array([1.])
    """
    first, second = feature_pair(now, then)
    if first.shape != second.shape:
        feature_pair(first, second[:, : first.shape[1]])
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return np.full(1, np.nan)
    a, b = (centred_features(rescaled(x)) for x in (first, second))
    with np.errstate(invalid="ignore", divide="ignore"):
        inner, left, right = (np.einsum("nu,nu->u", p, q) for p, q in ((a, b), (a, a), (b, b)))
        cosines = inner / np.sqrt(left * right)
    alive = (left > 0) & (right > 0)
    return np.asarray(np.clip(cosines[alive], -1.0, 1.0))


def kernel_drift(now: Points, then: Points, estimator: Estimator = "debiased") -> float:
    """Return 1 − CKA between the features of one layer now and then.

    Args:
        now: features (samples, units) at one step.
        then: features of the same samples at an earlier step.
        estimator: of CKA, see `cka`.

    Returns:
        No unit, in [0, 2] ([0, 1] for "biased"): 0 = the same up to a rotation of the units. Units
        may turn (`unit_drift`) while the kernel stays; NaN as in `cka`.

    Source: arXiv 2309.04522 for the question, Kornblith et al., arXiv 1905.00414, for the measure.

    >>> x = np.random.default_rng(0).normal(size=(50, 2))
    >>> abs(kernel_drift(x @ np.array([[0.0, 1.0], [-1.0, 0.0]]), x)) < 1e-12
    True
    """
    return 1.0 - cka(now, then, estimator)


def displacements(features: Sequence[Points]) -> Array:
    """Return how far features are displaced between every two moments, squared, (T, T).

    Args:
        features: of T moments, each (samples, units) of the same samples and units.

    Returns:
        Mean over samples and units of (φ(t) − φ(s))², both centred over the samples, ÷ the mean
        variance of the units over samples and moments. No unit, at least 0, exactly 0 on the
        diagonal; symmetric. A row and column is NaN where a feature of it is not finite, all are
        where no unit varies. `wingbeat.metrics.structure.structure_function` tells from it whether
        features stay, diffuse or go one way.

    Raises:
        RequestError: no moment, or shapes that do not fit.

    Source: mean squared displacement as of particles; the question: arXiv 2309.04522.

    >>> x = np.array([[-1.0], [1.0]])
    >>> displacements([x, 2 * x, 3 * x]).round(3).tolist()
    [[0.0, 0.214, 0.857], [0.214, 0.0, 0.214], [0.857, 0.214, 0.0]]
    """
    if not len(features):
        raise RequestError("features is empty: give those of at least one moment")
    pairs = [feature_pair(x, features[0]) for x in features]
    other = next((x.shape for x, first in pairs if x.shape != first.shape), None)
    if other is not None:
        raise RequestError(
            f"features have shapes {pairs[0][1].shape} and {other}: give the same units"
        )
    finite = np.array([np.isfinite(x).all() for x, _ in pairs])
    every = [x if ok else np.zeros_like(x) for (x, _), ok in zip(pairs, finite, strict=True)]
    top = max(float(np.abs(x).max(initial=0.0)) for x in every)
    scale = -int(np.frexp(top)[1])
    flat = [centred_features(np.ldexp(x, scale)) for x in every]
    found = np.zeros((len(flat), len(flat)))
    for i, now in enumerate(flat):
        for j, then in enumerate(flat[:i]):
            found[i, j] = found[j, i] = np.mean((now - then) ** 2)
    own = [np.mean(x**2) for x, ok in zip(flat, finite, strict=True) if ok]
    spread = float(np.mean(own)) if own else 0.0
    found = found / spread if spread > 0 else np.full_like(found, np.nan)
    found[~finite], found[:, ~finite] = np.nan, np.nan
    return np.asarray(found)
