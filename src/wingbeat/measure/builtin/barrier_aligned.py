"""The metric "barrier_aligned": the barrier that is left after permuting units.

To the reference, at the last step, on the samples of "barrier", with statistics of batch
normalization estimated anew at every point as there.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.errors import DIVERGED, NO_PREDICTIONS
from wingbeat.landscape import Probe, line
from wingbeat.measure.builtin.barrier import ROWS, curve_rows
from wingbeat.measure.metric import metric_of_run
from wingbeat.measure.symmetries import aligned_rows, alignment, why_none, why_not_aligned

if TYPE_CHECKING:
    from wingbeat.landscape import Lines, Models
    from wingbeat.measure.context import MetricContext

ALIGNED: Final = {
    curve: metric.replace("barrier", "barrier_aligned") for curve, metric in ROWS.items()
}
"""Curve on the line → name of the aligned barrier's rows."""
CURVE: Final = "loss_train"
"""The curve whose every point is kept."""


@metric_of_run(
    "barrier_aligned",
    needs="models",
    per="replica",
    unit="loss, share",
    range=(0, inf),
    direction="0 = one basin up to permutation",
    label="aligned barrier",
    caption="Barrier to the reference after permuting a replica's units onto the reference's, "
    "at the last step",
    source="Ainsworth et al., arXiv 2209.04836",
    cost="an alignment, and about 23 evaluations of at most 1,024 samples per replica",
    rows=(*ALIGNED.values(), f"line_aligned_{CURVE}"),
    summary=tuple(f"final_{row}" for row in ALIGNED.values()),
    order=200,
)
def barrier_aligned(context: MetricContext) -> None:
    """Add the rows of "barrier_aligned"."""
    last = context.trajectory.steps[-1]
    context.tick(f"aligned barriers at step {last}")
    snapshot = context.trajectory.at(last)
    found = alignment(context, snapshot)
    asked = context.model_step.task.barriers
    stacked = None if context.model_step.functional else False
    probe = Probe(context.model_step, samples=asked.samples, stacked=stacked)
    lines = None if found is None else _to_first(probe, found.models, asked.points)
    for curve, metric in ALIGNED.items():
        if curve.endswith("test") and "test" not in probe.data:
            continue
        there = lines is not None and curve in lines.curves
        values = np.full(len(snapshot.labels), np.nan)
        if lines is not None and there:
            values = lines.matrix(curve)[0]
        other = DIVERGED if lines is None or there else NO_PREDICTIONS
        aligned_rows(context, snapshot, metric, values, why_not_aligned(found, other))
        context.keep(f"final_{metric}", values, low=0.0, reason=why_none(found, other))
    if lines is not None:
        curve_rows(context, snapshot, lines, CURVE, f"line_aligned_{CURVE}")


def _to_first(probe: Probe, models: Models, points: int) -> Lines | None:
    """Return the lines from the first model to every other that is whole; None without one."""
    ok = models.finite
    alive = [(0, i) for i in range(1, len(models)) if ok[0] and ok[i]]
    return line(probe, models, alive, points) if alive else None
