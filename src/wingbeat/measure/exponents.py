"""Where exponential growth ends: the distance between independent runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection

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


def saturation(weights: Weights, independent: Collection[str] = ()) -> Saturation:
    """Return the saturation distance of a run.

    Args:
        weights: its moments.
        independent: perturbations whose replicas have an initialisation of their own.
    """
    final = np.sqrt(weights.apart2[-1].sum(axis=0))
    places = [i for i, x in enumerate(weights.labels) if x.rsplit("#", 1)[0] in independent]
    if places and np.isfinite(final[places]).all():
        return Saturation(SATURATION_FACTOR * float(final[places].mean()), "measured")
    norm = float(np.sqrt(weights.norm2[-1].sum()))
    return Saturation(SATURATION_FACTOR * 2**0.5 * norm, "estimated")
