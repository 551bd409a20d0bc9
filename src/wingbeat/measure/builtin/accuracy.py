"""The metric "accuracy": share of held-out cases that a replica gets right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wingbeat.measure.metric import Curve, metric_of_run
from wingbeat.measure.rows import scalar_rows

if TYPE_CHECKING:
    from wingbeat.measure.context import MetricContext


@metric_of_run(
    "accuracy",
    needs="outputs",
    default=True,
    per="replica",
    unit="share",
    range=(0, 1),
    direction="1 = all right",
    caption="Share of held-out cases classified right",
    figure=Curve(axis="accuracy (share correct)"),
    order=120,
    cost="a pass over the evaluation data at every snapshot",
)
def accuracy(context: MetricContext) -> None:
    """Add the rows of "accuracy" at one moment."""
    scalar_rows(context, "accuracy")
