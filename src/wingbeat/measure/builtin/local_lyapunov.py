"""The metric "local_lyapunov": growth rate of the spread between neighboring snapshots."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.errors import BELOW_NOISE_FLOOR
from wingbeat.measure.metric import Definition, metric_of_run
from wingbeat.measure.rows import spreads, why_no_spread
from wingbeat.metrics import local_lyapunov as growth_rates

if TYPE_CHECKING:
    from wingbeat.measure.context import MetricContext


@metric_of_run(
    "local_lyapunov",
    needs="weights",
    per="perturbation",
    unit="1/step",
    range=(-inf, inf),
    direction="> 0 = parting",
    label="local exponent",
    caption="Change of ln spread per step between two records",
    definitions=(
        Definition(
            "local exponent",
            "(ln spread(t₂) − ln spread(t₁)) ÷ (t₂ − t₁) between two records",
            "Unit 1/step; drawn over the interval it belongs to.",
        ),
    ),
    default=True,
    order=60,
)
def local_lyapunov(context: MetricContext) -> None:
    """Add the growth rate of every perturbation's spread."""
    w = context.weights
    for name, (places, values) in spreads(context).items():
        if len(places) < 2:
            continue
        whole, steps = values[:, 0], w.steps[places]
        growth = growth_rates(steps, np.where(whole <= w.noise_floor, 0.0, whole))
        why = np.where(np.isfinite(whole[1:]), BELOW_NOISE_FLOOR, why_no_spread(w, name))
        context.out.add(
            "local_lyapunov",
            growth,
            step=steps[1:],
            perturbation=name,
            reason=np.where(np.isfinite(growth), "", why),
        )
