"""The metric "relative_l2": distance to the reference as a share of its norm."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.measure.metric import metric_of_run
from wingbeat.measure.rows import apart, distance_rows
from wingbeat.measure.weights import with_whole

if TYPE_CHECKING:
    from wingbeat.measure.context import MetricContext


@metric_of_run(
    "relative_l2",
    needs="weights",
    per="layer",
    compares=True,
    unit="share of |w|",
    range=(0, inf),
    direction="0 = identical",
    label="relative L2 distance",
    caption="Distance |w − w_ref| ÷ |w_ref|, of the whole model and of each tensor",
    default=True,
    order=20,
)
def relative_l2(context: MetricContext) -> None:
    """Add the rows of "relative_l2"."""
    w = context.weights
    with np.errstate(invalid="ignore", divide="ignore"):
        values = apart(w) / np.sqrt(with_whole(w.norm2)[..., None])
    distance_rows(context, "relative_l2", values)
