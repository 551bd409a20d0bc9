"""The metric "eval_loss": the loss of every replica on held-out data."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from wingbeat.measure.metric import Curve, metric_of_run
from wingbeat.measure.rows import scalar_rows

if TYPE_CHECKING:
    from wingbeat.measure.context import MetricContext


@metric_of_run(
    "eval_loss",
    needs="outputs",
    default=True,
    per="replica",
    unit="loss",
    range=(-inf, inf),
    direction="lower fits better",
    label="evaluation loss",
    caption="Loss on held-out data",
    figure=Curve(axis="evaluation loss (units of the loss)", log=True),
    order=110,
    cost="a pass over the evaluation data at every snapshot",
)
def eval_loss(context: MetricContext) -> None:
    """Add the rows of "eval_loss" at one moment."""
    scalar_rows(context, "eval_loss")
