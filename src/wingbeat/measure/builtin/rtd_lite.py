"""The metric "rtd_lite": do a replica's layers cluster the samples as the reference's do?"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.errors import CONSTANT, DIVERGED
from wingbeat.measure.budget import forked_steps
from wingbeat.measure.features import run_features, seen_data
from wingbeat.measure.layer_rows import layer_rows
from wingbeat.measure.metric import Curve, Definition, metric_of_run
from wingbeat.metrics.rtd import ScaledCloud, rtd_lite_of
from wingbeat.replicas.fork import REFERENCE

if TYPE_CHECKING:
    from wingbeat.measure.context import MetricContext


@metric_of_run(
    "rtd_lite",
    needs="models",
    per="layer",
    compares=True,
    unit="1",
    range=(0, inf),
    direction="0 = same clusters",
    label="RTD-Lite",
    caption="How much shorter a spanning tree of the samples gets when it may use the shorter of "
    "the replica's and the reference's distances, of each layer and as the mean over layers",
    source="RTD-Lite: arXiv 2503.11910",
    cost="one forward pass over at most 512 samples at every snapshot, and two spanning trees of "
    "each layer and replica",
    summary=("final_rtd_lite",),
    figure=Curve(axis="RTD-Lite", reference=False),
    definitions=(
        Definition(
            "RTD-Lite",
            "½ Σ over both of [MST(r) − MST(min(r₁, r₂))]",
            "r are distances of the same samples, each in units of its 0.9 quantile. 0 = both "
            "cluster the samples alike; unchanged by rotation, shift and one factor.",
        ),
    ),
    order=310,
)
def rtd_lite(context: MetricContext) -> None:
    """Add the rows of "rtd_lite" and the final mean over layers for the summary."""
    features = run_features(context, seen_data(context), held=3)
    for step in forked_steps(context):
        context.tick(f"RTD-Lite at step {step}")
        snapshot = context.trajectory.at(step)
        with np.errstate(over="ignore", invalid="ignore"):
            first = {k: ScaledCloud.of(x) for k, x in features(snapshot, 0).items()}
        found: dict[str, list[float]] = {name: [] for name in first}
        lost = []
        for place in range(1, len(snapshot.labels)):
            own = features(snapshot, place)
            lost.append(not all(np.isfinite(x).all() for x in own.values()))
            with np.errstate(over="ignore", invalid="ignore"):
                for name, x in own.items():
                    found[name].append(rtd_lite_of(first[name], ScaledCloud.of(x)))
        values = {name: np.array(v) for name, v in found.items()}
        why = np.where(np.array(lost, dtype=bool), DIVERGED, CONSTANT)
        whole = layer_rows(
            context, "rtd_lite", step, snapshot.labels[1:], values, a=REFERENCE, why=why
        )
    context.keep("final_rtd_lite", np.concatenate([[0.0], whole]), low=0.0, reason=CONSTANT)
