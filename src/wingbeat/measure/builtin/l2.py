"""The metric "l2": distance of every replica to the reference."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from wingbeat.measure.metric import Definition, metric_of_run
from wingbeat.measure.rows import apart, distance_rows

if TYPE_CHECKING:
    from wingbeat.measure.context import MetricContext


@metric_of_run(
    "l2",
    needs="weights",
    per="layer",
    compares=True,
    unit="weight",
    range=(0, inf),
    direction="0 = identical",
    label="L2 distance",
    caption="Distance |w − w_ref| to the reference, of the whole model and of each tensor",
    definitions=(
        Definition(
            "distance (L2)",
            "‖w_i(t) − w_ref(t)‖₂ over all trainable weights",
            "0 = identical. The relative distance divides it by ‖w_ref(t)‖₂.",
        ),
    ),
    default=True,
    order=10,
)
def l2(context: MetricContext) -> None:
    """Add the rows of "l2"."""
    distance_rows(context, "l2", apart(context.weights))
