"""The metric "path_length": how long a way each replica has gone."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from wingbeat.measure.metric import metric_of_run
from wingbeat.measure.rows import path_rows
from wingbeat.measure.weights import paths

if TYPE_CHECKING:
    from wingbeat.measure.context import MetricContext


@metric_of_run(
    "path_length",
    needs="weights",
    per="replica",
    unit="weight",
    range=(0, inf),
    direction="0 = never moved",
    caption="Sum of |w(t₂) − w(t₁)| over the records since the fork: a lower bound of the way",
    default=True,
    order=80,
)
def path_length(context: MetricContext) -> None:
    """Add the length of each replica's path from its fork to the end."""
    length, duration = paths(context.weights)
    path_rows(context, "path_length", length, duration)
