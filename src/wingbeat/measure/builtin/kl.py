"""The metric "kl": divergence of a replica's predicted probabilities from the reference's."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from wingbeat.measure.metric import Curve
from wingbeat.measure.own import metric
from wingbeat.metrics.divergence import kl as kl_of

if TYPE_CHECKING:
    from wingbeat.measure.accumulate import BatchView


@metric(
    "kl",
    needs="outputs",
    compares=True,
    unit="nat",
    range=(0, inf),
    direction="0 = same probabilities",
    label="divergence of predictions",
    caption="Kullback–Leibler divergence of predicted probabilities on held-out data, 0 = the same",
    source="Kullback and Leibler, Annals of Mathematical Statistics 22 (1951)",
    figure=Curve(axis="KL of the reference's predictions from the replica's (nats)"),
    order=140,
)
def kl(view: BatchView) -> Any:
    """Return the mean over a batch, (E,)."""
    return kl_of(view.scores[:1], view.scores)
