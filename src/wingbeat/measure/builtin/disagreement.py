"""The metric "disagreement": share of held-out cases that replica and reference class apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wingbeat.measure.metric import Curve, Definition, metric_of_run
from wingbeat.measure.rows import replica_rows
from wingbeat.replicas.fork import REFERENCE

if TYPE_CHECKING:
    from wingbeat.measure.context import MetricContext


@metric_of_run(
    "disagreement",
    needs="outputs",
    default=True,
    per="replica",
    compares=True,
    unit="share",
    range=(0, 1),
    direction="0 = same predictions",
    caption="Share of held-out cases to which replica and reference give different classes",
    # The reference cannot disagree with itself: its own row is no finding.
    figure=Curve(axis="disagreement (share of predictions)", reference=False),
    definitions=(
        Definition(
            "disagreement",
            "share of held-out cases with argmax f_i(x) ≠ argmax f_ref(x)",
            "0 = the same class everywhere, 1 = another class everywhere.",
        ),
    ),
    order=130,
    cost="a pass over the evaluation data at every snapshot",
)
def disagreement(context: MetricContext) -> None:
    """Add the rows of "disagreement" at one moment."""
    snapshot, outputs = context.moment
    values = outputs.disagreement()
    replica_rows(context, "disagreement", snapshot.labels, values, a=REFERENCE)
