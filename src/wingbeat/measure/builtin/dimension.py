"""The metric "path_dimension": how the path of each replica's weights fills space."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from wingbeat.measure.layer_rows import layer_rows
from wingbeat.measure.metric import Definition, metric_of_run
from wingbeat.metrics.dimension import FEWEST_POINTS, PathDimension
from wingbeat.metrics.dimension import path_dimension as dimension_of
from wingbeat.metrics.gram import gram

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wingbeat.measure.context import MetricContext

POINTS: Final = 1000
"""Records of a path, at most: evenly spaced ones of more."""


@metric_of_run(
    "path_dimension",
    needs="weights",
    per="replica",
    unit="1",
    range=(0, inf),
    direction="1 = a smooth curve, 2 = a random walk",
    caption="Dimension of the recorded weights of a replica since its fork, from the growth of "
    "their spanning tree with the number of records",
    source="Birdal et al., arXiv 2111.13171",
    summary=("path_dimension",),
    definitions=(
        Definition(
            "path dimension",
            "1 ÷ (1 − slope of ln MST against ln n)",
            "MST is the length of the minimum spanning tree of n of the recorded weights. Needs "
            "200 records (record_every); biased low above five.",
        ),
    ),
    order=96,
)
def path_dimension(context: MetricContext) -> None:
    """Add the rows of "path_dimension", which are its summary too."""
    found = [_of(context, place) for place in range(len(context.labels))]
    values = np.array([one.value for one in found])
    why = np.array([one.reason for one in found], dtype=object)
    last = context.trajectory.steps[-1]
    layer_rows(context, "path_dimension", last, context.labels, {"": values}, why=why, mean=False)
    reason = next((one.reason for one in found[2:] if one.reason), "") or "too_few_points"
    context.keep("path_dimension", values, low=0.0, reason=reason)


def _of(context: MetricContext, place: int) -> PathDimension:
    trajectory, w = context.trajectory, context.weights
    there = [step for step, own in zip(trajectory.steps, w.present, strict=True) if own[place]]
    if len(there) < FEWEST_POINTS:
        return dimension_of(np.zeros((len(there), 1)))
    kept = [there[i] for i in np.linspace(0, len(there) - 1, min(POINTS, len(there))).astype(int)]
    if w.lost[:, place].any():
        return dimension_of(np.full((len(kept), 1), np.nan))

    def blocks() -> Iterator[Any]:
        for name in w.layers:
            stack = [trajectory.tensor(step, name)[place] for step in kept]
            yield torch.stack(stack).reshape(len(kept), -1)

    return dimension_of(gram(blocks(), centre="mean"), precomputed=True)
