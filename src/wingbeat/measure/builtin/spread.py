"""The metric "spread": how far the replicas of a perturbation lie from each other."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.errors import BELOW_NOISE_FLOOR
from wingbeat.measure.metric import Definition, metric_of_run
from wingbeat.measure.rows import spreads, why_no_spread
from wingbeat.measure.table import object_array

if TYPE_CHECKING:
    from wingbeat.measure.context import MetricContext


@metric_of_run(
    "spread",
    needs="weights",
    per="layer",
    unit="weight",
    range=(0, inf),
    direction="0 = identical",
    caption="Root of the summed variance of all weights over the replicas of a perturbation, "
    "of the whole model and of each tensor",
    definitions=(
        Definition(
            "spread",
            "spread(t) = √( Σ_p Var_i w_ip(t) )",
            "Variance over the perturbed replicas i of one perturbation (divided by their "
            "number), summed over all trainable weights p, in float64. 0 = identical.",
        ),
    ),
    default=True,
    order=40,
)
def spread(context: MetricContext) -> None:
    """Add the spread of every perturbation, whole and by layer."""
    w = context.weights
    for name, (places, values) in spreads(context).items():
        finite = np.isfinite(values)
        below = (values <= w.noise_floor) & (w.noise_floor > 0)
        context.out.add(
            "spread",
            np.where(finite, values, np.nan),
            step=w.steps[places][:, None],
            perturbation=name,
            layer=object_array(("", *w.layers)),
            reason=np.where(finite, np.where(below, BELOW_NOISE_FLOOR, ""), why_no_spread(w, name)),
        )
