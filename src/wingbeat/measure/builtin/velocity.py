"""The metric "velocity": mean speed of each replica in weight space."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.measure.metric import metric_of_run
from wingbeat.measure.rows import path_rows
from wingbeat.measure.weights import paths

if TYPE_CHECKING:
    from wingbeat.measure.context import MetricContext


@metric_of_run(
    "velocity",
    needs="weights",
    per="replica",
    unit="weight/step",
    range=(0, inf),
    direction="0 = at rest",
    caption="Length of the path since the fork over the number of steps",
    default=True,
    order=90,
)
def velocity(context: MetricContext) -> None:
    """Add the mean speed of each replica from its fork to the end."""
    length, duration = paths(context.weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        path_rows(context, "velocity", length / duration, duration)
