"""Where exponential growth ends: the distance between independent runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from wingbeat.measure.weights import Weights

SATURATION_FACTOR = 0.25
"""A distance above this share of that between independent runs no longer grows exponentially."""


@dataclass(frozen=True)
class Saturation:
    """The distance above which growth is not fitted.

    Attributes:
        distance: in units of weight.
        source: "measured" from replicas with an initialisation of their own, or "estimated" as
            √2 times the reference's final norm, the distance of two such vectors at right angles.
    """

    distance: float
    source: Literal["measured", "estimated"]


def saturation(weights: Weights) -> Saturation:
    """Return the saturation distance of a run."""
    final = np.sqrt(weights.apart2[-1].sum(axis=0))
    independent = [i for i, label in enumerate(weights.labels) if label.startswith("init-")]
    if independent and np.isfinite(final[independent]).all():
        return Saturation(SATURATION_FACTOR * float(final[independent].mean()), "measured")
    norm = float(np.sqrt(weights.norm2[-1].sum()))
    return Saturation(SATURATION_FACTOR * 2**0.5 * norm, "estimated")
