"""The metric "logit_correlation": correlation of a replica's logits with the reference's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wingbeat.measure.metric import Curve, metric_of_run
from wingbeat.measure.rows import comparison_rows
from wingbeat.metrics.divergence import centred_products, correlation_of
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wingbeat.measure.context import MetricContext


class LogitProducts:
    """Sums of products of centered logits over the batches of one moment."""

    def __init__(self) -> None:
        self.total: Array = np.zeros(())

    def add(self, scores: Array, targets: NDArray[np.int64] | None) -> None:
        """Add a batch."""
        del targets
        self.total = self.total + centred_products(scores[:1], scores)


@metric_of_run(
    "logit_correlation",
    needs="outputs",
    per="replica",
    compares=True,
    unit="1",
    range=(-1, 1),
    direction="1 = same logits up to a factor",
    label="correlation of logits",
    caption="Pearson's correlation of replica's and reference's logits on held-out data, "
    "1 = the same",
    figure=Curve(axis="correlation with the reference's logits"),
    summary=("final_logit_correlation",),
    accumulate=lambda _: LogitProducts(),
    order=160,
    cost="a pass over the evaluation data at every snapshot",
)
def logit_correlation(context: MetricContext) -> None:
    """Add the rows of "logit_correlation" at one moment."""
    total = context.moment[1].totals.get("logit_correlation")
    if not isinstance(total, LogitProducts):
        comparison_rows(context, "logit_correlation", None)
        return
    values = correlation_of(total.total)
    comparison_rows(context, "logit_correlation", values)
    context.keep("final_logit_correlation", values, -1.0, 1.0)
