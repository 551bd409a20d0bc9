"""The metric "loops": bars in degree 1 of each layer's activations, on landmarks.

At the first step with a perturbed replica and at the last. Of the samples at most 128 landmarks are
taken, each the farthest from those before, and how far the others lie from them is reported: the
diagram is off by at most twice that.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.errors import DIVERGED
from wingbeat.measure.budget import forked_steps
from wingbeat.measure.features import run_features, seen_data
from wingbeat.measure.layer_rows import layer_rows
from wingbeat.measure.metric import Curve, Definition, metric_of_run
from wingbeat.metrics.persistence import longest, persistence, total_persistence
from wingbeat.metrics.topology import distances, landmarks
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.measure.context import MetricContext

LANDMARKS: Final = 128
"""Points of a diagram: about 5 ms with loops of Gaussian clouds, and 13 of circles."""
ROWS: Final = ("h1_total", "h1_longest", "h1_count", "covering_radius")


@metric_of_run(
    "loops",
    needs="models",
    per="layer",
    unit="activation, 1",
    range=(0, inf),
    direction="0 = no loop",
    caption="Loops that the samples form in each layer: summed and longest persistence, their "
    "number, and how far samples lie from the landmarks",
    source="persistent homology in degree 1, Vietoris–Rips by diameter, coefficients in Z/2",
    cost="one forward pass over at most 512 samples at two snapshots, and a diagram of 128 points "
    "of each layer",
    requires="gudhi: pip install 'wingbeat[topology]'",
    rows=ROWS,
    summary=("final_h1_total",),
    figure=Curve(row="h1_total", label="loops", axis="summed persistence (activation)"),
    definitions=(
        Definition(
            "loops",
            "Σ (death − birth) over the bars in degree 1",
            "A loop is born at the scale at which its points join and dies at the one that fills "
            "it. In units of the activations.",
        ),
    ),
    order=300,
)
def loops(context: MetricContext) -> None:
    """Add the rows of "loops" and the final sum for the summary."""
    features = run_features(context, seen_data(context), held=2)
    steps = forked_steps(context)
    for step in sorted({steps[0], steps[-1]}):
        context.tick(f"loops at step {step}")
        snapshot = context.trajectory.at(step)
        every = [features(snapshot, place) for place in range(len(snapshot.labels))]
        found = {name: np.array([_bars(one[name]) for one in every]) for name in every[0]}
        means = {}
        for i, row in enumerate(ROWS):
            values = {name: v[:, i] for name, v in found.items()}
            means[row] = layer_rows(context, row, step, snapshot.labels, values, why=DIVERGED)
    context.keep("final_h1_total", means["h1_total"], low=0.0)


def _bars(x: Array) -> tuple[float, float, float, float]:
    """Return sum, longest and number of the bars in degree 1, and the covering radius."""
    with np.errstate(over="ignore", invalid="ignore"):
        apart = distances(x) if np.isfinite(x).all() else np.full((1, 1), np.nan)
    if not np.isfinite(apart).all():
        return (np.nan,) * 4
    chosen = landmarks(apart, min(LANDMARKS, len(apart)))
    diagram = persistence(apart[np.ix_(chosen.places, chosen.places)])
    count = float(len(diagram.lengths(1)))
    return total_persistence(diagram), longest(diagram), count, chosen.radius
