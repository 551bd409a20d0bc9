"""The metric "js": symmetric divergence of a replica's predictions and the reference's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wingbeat.measure.metric import Curve
from wingbeat.measure.own import metric
from wingbeat.metrics.divergence import LN2
from wingbeat.metrics.divergence import js as js_of

if TYPE_CHECKING:
    from wingbeat.measure.accumulate import BatchView


@metric(
    "js",
    needs="outputs",
    compares=True,
    unit="nat",
    range=(0, LN2),
    direction="0 = same probabilities",
    label="divergence of predictions (Jensen–Shannon)",
    caption="Jensen–Shannon divergence of predicted probabilities on held-out data, 0 = the same",
    source="Lin, IEEE Transactions on Information Theory 37 (1991)",
    figure=Curve(axis="JS divergence (nats, at most 0.69)"),
    order=150,
)
def js(view: BatchView) -> Any:
    """Return the mean over a batch, (E,)."""
    return js_of(view.scores[:1], view.scores)
