"""The metric "soup": what averaging the replicas' weights gains, as they are and aligned.

The replicas of a perturbation are averaged at the last step, once with the weights as they are and
once with each replica's units permuted onto the reference's. Where the average lies in one basin
with them it is as good as they are, or better; across a barrier it is worse.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.errors import DIVERGED, NO_PREDICTIONS, TOO_FEW_REPLICAS
from wingbeat.landscape import Models, Probe
from wingbeat.landscape import soup as soup_of
from wingbeat.measure.builtin.barrier import ROWS
from wingbeat.measure.metric import metric_of_run
from wingbeat.measure.symmetries import alignment, why_none

if TYPE_CHECKING:
    from wingbeat.landscape import Soup
    from wingbeat.measure.context import MetricContext

GAINS: Final = {curve: f"soup_gain_{curve}" for curve in ROWS}
"""Quantity and data → rows of the average's gain; those of the aligned one end in "_aligned"."""


@metric_of_run(
    "soup",
    needs="models",
    per="perturbation",
    unit="loss, share",
    range=(-inf, inf),
    direction="> 0 = the average of the weights is better than the replicas",
    label="weight average",
    caption="What averaging the weights of a perturbation's replicas gains over their mean loss "
    "and error, as they are and with units permuted onto the reference's, at the last step",
    source="Wortsman et al., arXiv 2203.05482",
    cost="two evaluations of the averages per perturbation, and an alignment",
    rows=tuple(f"{row}{end}" for row in GAINS.values() for end in ("", "_aligned")),
    order=210,
)
def soup(context: MetricContext) -> None:
    """Add for each perturbation the mean of its replicas' values less their average's value."""
    last = context.trajectory.steps[-1]
    context.tick(f"averages of weights at step {last}")
    snapshot = context.trajectory.at(last)
    models = Models.of_snapshot(context.model_step, snapshot)
    found = alignment(context, snapshot)
    stacked = None if context.model_step.functional else False
    probe = Probe(
        context.model_step, samples=context.model_step.task.barriers.samples, stacked=stacked
    )
    for name, places in context.groups.items():
        why = TOO_FEW_REPLICAS if len(places) < 2 else ""
        why = why or ("" if models.finite[[0, *places]].all() else DIVERGED)
        made = None
        if not why:
            whole = found is not None and not found.broken[list(places)].any()
            moved = found.models.take(places) if found is not None and whole else None
            made = soup_of(probe, models.take(places), aligned=moved)
        for curve, row in GAINS.items():
            if curve.endswith("test") and "test" not in probe.data:
                continue
            for aligned in (False, True):
                lost = why or (why_none(found, NO_PREDICTIONS) if aligned else NO_PREDICTIONS)
                value = _gain(made, curve, aligned=aligned)
                context.out.add(
                    f"{row}_aligned" if aligned else row,
                    value,
                    step=last,
                    perturbation=name,
                    reason="" if np.isfinite(value) else lost,
                )


def _gain(made: Soup | None, curve: str, *, aligned: bool) -> float:
    there = made is not None and curve in (made.aligned if aligned else made.plain)
    return made.gain(curve, aligned=aligned) if made is not None and there else float("nan")
