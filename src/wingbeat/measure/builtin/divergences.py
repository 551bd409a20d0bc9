"""The metrics "kl" and "js": divergence of predicted probabilities from the reference's."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from wingbeat.measure.metric import Curve
from wingbeat.measure.own import metric
from wingbeat.metrics import divergence

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
    return divergence.kl(view.scores[:1], view.scores)


@metric(
    "js",
    needs="outputs",
    compares=True,
    unit="nat",
    range=(0, divergence.LN2),
    direction="0 = same probabilities",
    label="divergence of predictions (Jensen–Shannon)",
    caption="Jensen–Shannon divergence of predicted probabilities on held-out data, 0 = the same",
    source="Lin, IEEE Transactions on Information Theory 37 (1991)",
    figure=Curve(axis="JS divergence (nats, at most 0.69)"),
    order=150,
)
def js(view: BatchView) -> Any:
    """Return the mean over a batch, (E,)."""
    return divergence.js(view.scores[:1], view.scores)
