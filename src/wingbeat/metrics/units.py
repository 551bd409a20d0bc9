"""How far the incoming weights of single units have turned."""

from __future__ import annotations

from math import nan
from typing import Final

import numpy as np

from wingbeat.arguments import as_float64
from wingbeat.errors import RequestError
from wingbeat.typing import Array

PURIFIED: Final = float(np.sqrt(0.5))
"""Above this |cosine| the part of w along w' is longer than the rest."""


def unit_cosine(weights: Array, others: Array) -> Array:
    """Return for each unit the cosine between two vectors of incoming weights.

    Args:
        weights: (units, …), whatever follows is flattened; the bias is left out.
        others: the same units in another replica or at another step.

    Returns:
        (units,), no unit, in [−1, 1]: 1 = same direction (exactly, where the weights are the same),
        0 on average with deviation 1/√d for unrelated ones in d dimensions. NaN where a unit has no
        incoming weight or one is not finite. It depends on the order of units: align first where
        that may differ.

    Raises:
        RequestError: the shapes differ, or there is no axis of inputs.

    Source: feature purification, arXiv 2005.10190.

    >>> unit_cosine(np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([[2.0, 0.0], [0.0, 1.0]])).round(4)
    array([1.    , 0.7071])
    """
    weights, others = as_float64(weights, "weights"), as_float64(others, "others")
    if weights.shape != others.shape or weights.ndim < 2:
        raise RequestError(
            f"weights have shapes {weights.shape} and {others.shape}: give (units, inputs) of both"
        )
    a, b = (_scaled(w.reshape(len(w), -1)) for w in (weights, others))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        inner, left, right = (np.einsum("up,up->u", p, q) for p, q in ((a, b), (a, a), (b, b)))
        return np.asarray(np.clip(inner / np.sqrt(left * right), -1.0, 1.0))


def _scaled(rows: Array) -> Array:
    """Divide each row by the power of two next to its largest entry: no square vanishes."""
    top = np.abs(rows).max(axis=1, initial=0.0)
    power = np.where(np.isfinite(top) & (top > 0), -np.frexp(top)[1], 0)
    return np.asarray(np.ldexp(rows, power[:, None]))


def purified_share(cosines: Array) -> float:
    """Return the share of units with w = βw' + v and ‖βw'‖ > ‖v‖ at the best β.

    Args:
        cosines: of the units, from `unit_cosine`; NaN are left out.

    Returns:
        In [0, 1]: the share with |cosine| > 1/√2, which is the same, as ‖βw'‖² = cos²‖w‖² and
        ‖v‖² = (1 − cos²)‖w‖². NaN without a unit.

    Source: arXiv 2005.10190; the equivalence is ours.

    >>> purified_share(np.array([0.9, -0.8, 0.1, 0.7]))
    0.5
    """
    known = cosines[np.isfinite(cosines)]
    return float(np.mean(np.abs(known) > PURIFIED)) if known.size else nan
