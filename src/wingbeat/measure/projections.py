"""Principal components of all snapshots, shared by the metrics that use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wingbeat.measure.weights import Weights, read_gram
from wingbeat.metrics import centred, projected_spread_from_gram, spread_from_gram
from wingbeat.metrics.projection import ProjectedSpread
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wingbeat.measure.context import MetricContext

    Points = list[tuple[int, str]]
    Projected = dict[str, tuple[NDArray[np.int64], ProjectedSpread]]


def projections(context: MetricContext) -> tuple[Array, Points, Projected]:
    """Return Gram matrix and (step, label) of all points, and each perturbation's projection.

    The Gram matrix is centered at the mean; a projection has its steps and the spread in the three
    leading components of the perturbation's own points.
    """
    if "projections" not in context.shared:
        w = context.weights
        forks = [int(w.steps[w.since(name)[0]]) for name in w.groups]
        g, points = read_gram(context.trajectory, w, forks)
        found = {name: _project(name, g, points, w) for name in w.groups}
        context.shared["projections"] = (g, points, found)
    known: tuple[Array, Points, Projected] = context.shared["projections"]
    return known


def _project(
    name: str, g: Array, points: Points, w: Weights
) -> tuple[NDArray[np.int64], ProjectedSpread]:
    own = [i for i, (_, label) in enumerate(points) if label.rsplit("#", 1)[0] == name]
    replicas = w.groups[name].shape[-1]
    if len({points[i][1] for i in own}) < replicas:  # one of them was left out
        nothing = np.full(len(w.since(name)), np.nan)
        return w.steps[w.since(name)], ProjectedSpread(nothing, nothing, np.nan)
    steps = np.array([points[i][0] for i in own])[::replicas]
    places = np.searchsorted(w.steps, steps)
    full = spread_from_gram(w.groups[name].sum(axis=1)[places])
    inner = centred(g[np.ix_(own, own)])
    return steps, projected_spread_from_gram(inner, replicas, 3, full=full)
