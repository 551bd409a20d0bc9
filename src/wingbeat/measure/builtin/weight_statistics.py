"""The metric "weight_statistics": norms, singular values and moments of the weights.

What the hidden states of `wingbeat.analyses.states` are made of. Not a comparison: each replica has
its own.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.errors import CONSTANT, DIVERGED
from wingbeat.measure.layer_rows import layer_rows
from wingbeat.measure.metric import Curve, Definition, metric_of_run
from wingbeat.metrics.weight_statistics import (
    OF_MATRICES,
    STATISTICS,
    matrix_statistics,
)
from wingbeat.metrics.weight_statistics import weight_statistics as statistics_of

if TYPE_CHECKING:
    from wingbeat.measure.context import MetricContext


@metric_of_run(
    "weight_statistics",
    needs="weights",
    per="layer",
    unit="weight, 1",
    range=(-inf, inf),
    direction="no value is better",
    caption="Norms, trace and singular values of each weight matrix and their means over matrices; "
    "mean, median and variance of all weights and of all biases",
    source="arXiv 2308.09543",
    cost="a singular value decomposition of every weight matrix at every snapshot",
    rows=STATISTICS,
    summary=("final_stable_rank",),
    figure=Curve(row="stable_rank", label="stable rank", axis="‖W‖_F² ÷ ‖W‖₂²"),
    definitions=(
        Definition(
            "stable rank",
            "‖W‖_F² ÷ ‖W‖₂²",
            "Mean over weight matrices; between 1 and the rank. Unchanged when units are permuted, "
            "as the trace is not.",
        ),
    ),
    order=98,
)
def weight_statistics(context: MetricContext) -> None:
    """Add the rows of "weight_statistics" and the final stable rank for the summary."""
    w = context.weights
    for snapshot, lost in zip(context.trajectory, w.lost, strict=True):
        params = {k: t.double().cpu().numpy() for k, t in snapshot.params.items()}
        whole = statistics_of(params)
        layers = {k: matrix_statistics(t) for k, t in params.items() if t.ndim >= 3}
        why = np.where(lost[: len(snapshot.labels)], DIVERGED, CONSTANT)
        for row in STATISTICS:
            own = {k: found[row] for k, found in layers.items()} if row in OF_MATRICES else {}
            values = {"": whole[row], **own}
            layer_rows(context, row, snapshot.step, snapshot.labels, values, why=why, mean=False)
    context.keep("final_stable_rank", whole["stable_rank"], low=1.0, reason=CONSTANT)
