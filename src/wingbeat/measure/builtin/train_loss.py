"""The metric "train_loss": the training loss of every replica."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.errors import DIVERGED
from wingbeat.measure.metric import Curve, metric_of_run
from wingbeat.measure.table import object_array, owners

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wingbeat.measure.context import MetricContext


@metric_of_run(
    "train_loss",
    needs="losses",
    per="replica",
    unit="loss",
    range=(-inf, inf),
    direction="lower fits better",
    label="training loss",
    caption="Mean of the training loss over the steps since the previous record",
    figure=Curve(axis="training loss (units of the loss)", log=True),
    default=True,
    order=100,
)
def train_loss(context: MetricContext) -> None:
    """Add the training loss of every replica, averaged since the step recorded before."""
    labels, means = context.labels, _means(context)
    # Minus infinity marks a replica that had not forked: it has no row.
    there, finite = ~np.isneginf(means), np.isfinite(means)
    context.out.add(
        "train_loss",
        np.where(finite, means, np.nan)[there],
        step=np.broadcast_to(context.weights.steps[1:, None], means.shape)[there],
        perturbation=np.broadcast_to(owners(labels), means.shape)[there],
        b=np.broadcast_to(object_array(labels), means.shape)[there],
        reason=np.where(finite, "", DIVERGED)[there],
    )


def _means(context: MetricContext) -> NDArray[np.float64]:
    """Return the mean loss between recorded steps (T − 1, E); −∞ before a replica had forked."""
    w, losses = context.weights, context.trajectory.losses.double().numpy()
    means = np.full((len(w.steps) - 1, len(w.labels)), -np.inf)
    for t, (a, b) in enumerate(zip(w.steps, w.steps[1:], strict=False)):
        there = w.present[t]
        means[t, there] = losses[a:b, there].mean(axis=0)
    return means
