"""The metric "topology": how connected each layer's activations are, with and without their scale.

Bars in degree 0 of the Vietoris–Rips filtration are the edges of the minimum spanning tree of the
samples in the layer's space. Their sum follows the scale of the activations, and so does the
expansion ratio; the scaled length does not. See docs/topology.md for what the published ratios of
55 to 694 measure. Loops are the metric "loops".
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.errors import CONSTANT, DIVERGED
from wingbeat.measure.budget import forked_steps
from wingbeat.measure.features import run_features, seen_data
from wingbeat.measure.layer_rows import layer_rows
from wingbeat.measure.metric import Curve, Definition, metric_of_run
from wingbeat.metrics.topology import distances, scaled_tree_length_of, tree_edges
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.measure.context import MetricContext


@metric_of_run(
    "topology",
    needs="models",
    per="layer",
    unit="activation, 1",
    range=(0, inf),
    direction="scaled length 1 = all samples equally far apart",
    caption="Length of the minimum spanning tree of the samples in each layer, the same in units "
    "of their mean distance, and the longest over layers ÷ that of the first layer",
    source="persistent homology in degree 0; expansion ratio: ToDACoMM 0.1.0",
    cost="one forward pass over at most 512 samples at every snapshot, and their distances",
    rows=("h0_total", "h0_scaled", "expansion_ratio"),
    summary=("final_h0_scaled", "final_expansion_ratio"),
    figure=Curve(row="h0_scaled", label="scaled tree length", axis="tree length ÷ mean distance"),
    definitions=(
        Definition(
            "scaled tree length",
            "MST ÷ ((n − 1) · mean distance)",
            "MST is the length of the minimum spanning tree of a layer's activations on n samples, "
            "the sum of all finite bars in degree 0. No unit; near 1 in many dimensions, small in "
            "few or where samples form tight groups.",
        ),
        Definition(
            "expansion ratio",
            "max over layers of MST ÷ MST of the first layer",
            "It follows the scale of the activations: compare it with the untrained model's, and "
            "never across architectures with another first layer.",
        ),
    ),
    order=290,
)
def topology(context: MetricContext) -> None:
    """Add the rows of "topology" and the final values for the summary."""
    features = run_features(context, seen_data(context), held=2)
    for step in forked_steps(context):
        context.tick(f"topology at step {step}")
        snapshot = context.trajectory.at(step)
        totals: dict[str, list[float]] = {}
        scaled: dict[str, list[float]] = {}
        for place in range(len(snapshot.labels)):
            for name, x in features(snapshot, place).items():
                total, share = tree_values(x)
                totals.setdefault(name, []).append(total)
                scaled.setdefault(name, []).append(share)
        h0 = {name: np.array(v) for name, v in totals.items()}
        shares = {name: np.array(v) for name, v in scaled.items()}
        lost = np.isnan(np.stack(list(h0.values()))).any(axis=0)
        why = np.where(lost, DIVERGED, CONSTANT)
        layer_rows(context, "h0_total", step, snapshot.labels, h0, why=why, mean=False)
        whole = layer_rows(context, "h0_scaled", step, snapshot.labels, shares, why=why)
        ratio = _expansion(np.stack(list(h0.values())))
        layer_rows(
            context, "expansion_ratio", step, snapshot.labels, {"": ratio}, why=why, mean=False
        )
    context.keep("final_h0_scaled", whole, low=0.0, high=1.0)
    context.keep("final_expansion_ratio", ratio, low=1.0, reason=CONSTANT)


def tree_values(x: Array) -> tuple[float, float]:
    """Return length and scaled length of the spanning tree of features (samples, units).

    >>> tree_values(np.array([[0.0], [2.0]]))
    (2.0, 1.0)
    """
    if not np.isfinite(x).all():
        return np.nan, np.nan
    with np.errstate(over="ignore", invalid="ignore"):
        apart = distances(x)
    return float(tree_edges(apart).sum()), scaled_tree_length_of(apart)


def _expansion(totals: Array) -> Array:
    """Return the largest of (layers, E) ÷ the first, (E,); NaN where the first is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(totals[0] > 0, totals.max(axis=0) / totals[0], np.nan))
