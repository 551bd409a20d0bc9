"""The metric "spread": how far the replicas of a perturbation lie from each other."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.errors import BELOW_NOISE_FLOOR, DIVERGED
from wingbeat.measure.metric import Definition, metric_of_run
from wingbeat.measure.rows import spreads, why_no_spread
from wingbeat.measure.table import object_array
from wingbeat.metrics import spread_interval

if TYPE_CHECKING:
    from wingbeat.measure.context import MetricContext
    from wingbeat.typing import Array


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
        Definition(
            "spread_low, spread_high",
            "√( (N − 1)/N · interval of Σ_p Var_i )",
            "Ends of the 95 % interval of the spread that as many copies, nudged anew, have on "
            "average (root mean square), of the whole model at one step: wingbeat.metrics."
            "spread_interval, on the scale of the spread. From three copies on.",
        ),
    ),
    rows=("spread", "spread_low", "spread_high"),
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
        _interval(context, name, values[:, 0])


def _interval(context: MetricContext, name: str, values: Array) -> None:
    """Add both ends of the 95 % interval of the whole model's spread at every step.

    It is that of the root of the variance divided by N - 1, on the scale of what stands in the
    table, which divides by N.
    """
    w = context.weights
    places = w.since(name)
    n = w.groups[name].shape[-1]
    found = [spread_interval(g) for g in w.groups[name].sum(axis=1)[places]]
    for end in ("low", "high"):
        ends = np.array([getattr(e, end) for e in found]) * ((n - 1) / n) ** 0.5
        finite = np.isfinite(ends)
        why = [e.interval_reason or e.reason or DIVERGED for e in found]
        reasons = np.where(np.isfinite(values), object_array(why), why_no_spread(w, name))
        context.out.add(
            f"spread_{end}",
            np.where(finite, ends, np.nan),
            step=w.steps[places],
            perturbation=name,
            reason=np.where(finite, "", reasons),
        )
