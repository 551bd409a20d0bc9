"""The metric "cosine": angle between a replica's weights and the reference's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wingbeat.measure.metric import metric_of_run
from wingbeat.measure.rows import distance_rows
from wingbeat.measure.weights import with_whole

if TYPE_CHECKING:
    from wingbeat.measure.context import MetricContext


@metric_of_run(
    "cosine",
    needs="weights",
    per="layer",
    compares=True,
    unit="1",
    range=(-1, 1),
    direction="1 = same direction",
    label="cosine",
    caption="Cosine of the angle between w and w_ref, of the whole model and of each tensor",
    default=True,
    order=30,
)
def cosine(context: MetricContext) -> None:
    """Add the rows of "cosine"."""
    w = context.weights
    apart2, norm2 = with_whole(w.apart2)[..., 1:], with_whole(w.norm2)[..., None]
    with np.errstate(invalid="ignore", divide="ignore"):
        inner = with_whole(w.cross)[..., 1:] + norm2
        # |w|² from |w − w_ref|², so that a small difference keeps its relative precision.
        own2 = norm2 + 2 * with_whole(w.cross)[..., 1:] + apart2
        values = inner / np.sqrt(norm2 * own2)
        distance_rows(context, "cosine", np.clip(values, -1, 1))
