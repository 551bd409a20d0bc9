"""The metric "pca": where all replicas go, in the leading principal components."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.measure.metric import metric_of_run
from wingbeat.measure.projections import projections
from wingbeat.measure.table import object_array, owners
from wingbeat.metrics import trajectory_pca

if TYPE_CHECKING:
    from wingbeat.measure.context import MetricContext


@metric_of_run(
    "pca",
    needs="weights",
    per="replica",
    unit="weight",
    range=(-inf, inf),
    direction="a map",
    label="principal components",
    caption="Scores of all snapshots of all replicas in the three leading principal components, "
    "and the share of variance that each explains",
    rows=("pc1", "pc2", "pc3", "pca_explained"),
    default=True,
    order=70,
)
def pca(context: MetricContext) -> None:
    """Add every point's scores in the leading components, and the variance they explain."""
    g, points, _ = projections(context)
    if len(points) < 2 or not np.isfinite(g).all():
        return
    found = trajectory_pca(g, min(10, len(points) - 1), precomputed=True)
    steps, labels = np.array([s for s, _ in points]), [label for _, label in points]
    for component in range(min(3, found.scores.shape[1])):
        context.out.add(
            f"pc{component + 1}",
            found.scores[:, component],
            step=steps,
            perturbation=owners(labels),
            b=object_array(labels),
        )
    places = np.arange(1, len(found.explained) + 1)
    context.out.add("pca_explained", found.explained, step=places)
