"""The metric "displacement": how far features get in a time, and how that grows with the time.

Of a replica's own past, over the second half of training: mean squared displacement against lag.
The slope in logarithms tells whether features stay near something fixed (0), diffuse (1) or go one
way (2): "drift" says how far they have come, not how.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.errors import CONSTANT, DIVERGED, TOO_FEW_POINTS
from wingbeat.measure.budget import forked_steps
from wingbeat.measure.features import run_features, seen_data
from wingbeat.measure.layer_rows import layer_rows
from wingbeat.measure.metric import Curve, Definition, metric_of_run
from wingbeat.metrics.drift import displacements
from wingbeat.metrics.structure import structure_function
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.measure.context import MetricContext
    from wingbeat.measure.features import RunFeatures

WINDOW: Final = 0.5
"""Share of training from which on displacements are looked at: fixed beforehand, since a window
that began where features look settled would be chosen for the answer."""
RECORDS: Final = 32
"""Records of the window that are looked at, at most: all their features are held at once."""
FEWEST: Final = 5
"""Records of the window that a slope needs: four lags."""


@metric_of_run(
    "displacement",
    needs="models",
    per="layer",
    unit="1",
    range=(0, inf),
    direction="slope 0 = around something fixed, 1 = diffusion, 2 = one way",
    caption="Mean squared displacement of a replica's features on the same samples since the "
    "middle of training, in units of their variance, of each layer and as the mean over layers; "
    "and the slope of its logarithm against that of the time between two records",
    source="the question: arXiv 2309.04522; the structure function is that of turbulence",
    cost="one forward pass over at most 512 samples at each of at most 32 records of the second "
    "half, fewer samples where their features would take above 256 MiB",
    rows=("displacement", "displacement_slope"),
    summary=("displacement_slope",),
    figure=Curve(row="displacement", label="displacement", axis="mean square ÷ variance"),
    definitions=(
        Definition(
            "displacement of features",
            "mean over samples and units of (φ(t) − φ(s))² ÷ mean variance of φ(s) over samples",
            "Both centred over the samples. The slope is that of the mean over all pairs of "
            "records against the time between them, over the longest decade of times.",
        ),
    ),
    order=252,
)
def displacement(context: MetricContext) -> None:
    """Add the rows of "displacement" and the mean slope over layers for the summary."""
    steps = window(forked_steps(context))
    features = run_features(context, seen_data(context), held=len(steps) + 1)
    found = [_of(context, features, place, steps) for place in range(len(context.labels))]
    names = list(found[0])
    for i, step in enumerate(steps):
        labels = context.trajectory.at(step).labels
        there = found[: len(labels)]
        # Since its own first record: a copy that forked later has fewer of them.
        own = {k: np.array([one[k][0, i - len(steps)] for one in there]) for k in names}
        layer_rows(context, "displacement", step, labels, own, why=_why(context, len(labels)))
    slopes = {k: np.array([_slope(one[k], steps) for one in found]) for k in names}
    few = np.array([len(one[names[0]]) < FEWEST for one in found])
    why = np.where(few, TOO_FEW_POINTS, _why(context, len(found)))
    whole = layer_rows(context, "displacement_slope", steps[-1], context.labels, slopes, why=why)
    context.keep("displacement_slope", whole, reason=TOO_FEW_POINTS if few.any() else CONSTANT)


def window(steps: list[int]) -> list[int]:
    """Return evenly spaced records of the second half, at most 32, the last among them.

    >>> window([0, 10, 20, 25, 30, 40])
    [20, 30, 40]
    """
    every = steps[1] - steps[0] if len(steps) > 1 else 1
    late = [s for s in steps if s >= WINDOW * steps[-1] and (steps[-1] - s) % every == 0]
    stride = -(-len(late) // RECORDS)
    return late[::-1][::stride][::-1]


def _of(
    context: MetricContext, features: RunFeatures, place: int, steps: list[int]
) -> dict[str, Array]:
    """Return the displacements of one replica between all its records by layer, (T, T) each."""
    context.tick(f"displacement of {context.labels[place]}")
    seen: dict[str, list[Array]] = {}
    for step in steps:
        snapshot = context.trajectory.at(step)
        if place < len(snapshot.labels):
            for name, x in features(snapshot, place).items():
                seen.setdefault(name, []).append(x)
    return {name: displacements(every) for name, every in seen.items()}


def _slope(apart: Array, steps: list[int]) -> float:
    own = steps[len(steps) - len(apart) :]
    if len(own) < FEWEST or not np.isfinite(apart).all():
        return float("nan")
    return structure_function(apart, own).slope.value


def _why(context: MetricContext, count: int) -> Array:
    lost = np.asarray(context.weights.lost[-1][:count], dtype=bool)
    return np.where(lost, DIVERGED, CONSTANT)
