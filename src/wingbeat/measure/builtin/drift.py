"""The metric "drift": how far each replica's features have turned from what they were.

A replica's own past, where "cka" compares replicas at one step: since the first recorded step, and
since the record before. With the change of the loss over the same time: drift without change of the
loss is what the diffusive late phase of arXiv 2309.04522 looks like.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.errors import CONSTANT, DIVERGED, TOO_FEW_SAMPLES
from wingbeat.measure.budget import forked_steps
from wingbeat.measure.features import run_features, seen_data
from wingbeat.measure.layer_rows import layer_rows
from wingbeat.measure.metric import Curve, Definition, metric_of_run
from wingbeat.metrics.cka import LEAST_SAMPLES
from wingbeat.metrics.drift import kernel_drift, unit_drift
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wingbeat.measure.context import MetricContext
    from wingbeat.measure.features import RunFeatures

    Found = dict[str, dict[int, dict[str, list[float]]]]
    """Values by row, step and layer, one for each replica that is there."""

MEASURES: Final = {"unit_drift": unit_drift, "kernel_drift": kernel_drift}
LOSS: Final = "drift_loss_change"


@metric_of_run(
    "drift",
    needs="models",
    per="layer",
    unit="1",
    range=(0, 2),
    direction="0 = has not turned",
    caption="How far a replica's features on the same samples have turned since its first record "
    "and since the record before: unit by unit, and as a kernel (1 − CKA), of each layer and as "
    "the mean over layers",
    source="the question: arXiv 2309.04522; CKA: Kornblith et al., arXiv 1905.00414",
    cost="one forward pass over at most 512 samples at every snapshot, and their Gram matrices",
    rows=(*MEASURES, *(f"{name}_step" for name in MEASURES), LOSS),
    summary=("final_unit_drift", "final_kernel_drift"),
    figure=Curve(row="unit_drift", label="unit drift", axis="1 − cosine of a unit's responses"),
    definitions=(
        Definition(
            "unit drift, kernel drift",
            "1 − mean over units of cos(φ_u(t), φ_u(s)); 1 − CKA(Φ(t), Φ(s))",
            "φ_u are the responses of unit u, centred over the samples, s an earlier step of the "
            "same replica. Units may turn while the kernel stays.",
        ),
    ),
    order=250,
)
def drift(context: MetricContext) -> None:
    """Add the rows of "drift" and the final means over layers for the summary."""
    steps = forked_steps(context)
    features = run_features(context, seen_data(context), held=3)
    found: Found = {}
    for place in range(len(context.labels)):
        context.tick(f"drift of {context.labels[place]}")
        _follow(context, features, place, steps, found)
    for row, by_step in found.items():
        for step in steps:
            whole = _rows(context, row, step, by_step[step], features.samples)
        if f"final_{row}" in ("final_unit_drift", "final_kernel_drift"):
            context.keep(f"final_{row}", whole, low=0.0, high=2.0)


def _follow(
    context: MetricContext, features: RunFeatures, place: int, steps: list[int], found: Found
) -> None:
    """Compare one replica with its own past at every step at which it exists."""
    first: dict[str, Array] = {}
    before, loss = first, np.nan
    for step in steps:
        snapshot = context.trajectory.at(step)
        if place >= len(snapshot.labels):
            continue
        now = features(snapshot, place)
        then = features.losses[-1]
        own: dict[str, dict[str, float]] = {}
        for name, x in now.items():
            for row, measure in MEASURES.items():
                own.setdefault(row, {})[name] = _drift(measure, x, first.get(name, x))
                own.setdefault(f"{row}_step", {})[name] = _drift(measure, x, before.get(name, x))
        own[LOSS] = {"": then - loss if np.isfinite(loss) else 0.0}
        for row, values in own.items():
            layers = found.setdefault(row, {}).setdefault(step, {})
            for name, value in values.items():
                layers.setdefault(name, []).append(value)
        first, before, loss = first or now, now, then


def _drift(measure: object, now: Array, then: Array) -> float:
    assert callable(measure)
    if now is then and np.isfinite(now).all() and np.ptp(now, axis=0).any():
        return 0.0  # nothing to compare with yet
    return float(measure(now, then))


def _rows(
    context: MetricContext, row: str, step: int, values: dict[str, list[float]], samples: int
) -> Array:
    labels = context.trajectory.at(step).labels
    arrays = {name: np.array(v, dtype=np.float64) for name, v in values.items()}
    few = samples < LEAST_SAMPLES["debiased"] and row.startswith("kernel")
    why = TOO_FEW_SAMPLES if few else np.where(_lost(context, step), DIVERGED, CONSTANT)
    return layer_rows(context, row, step, labels, arrays, why=why, mean=row != LOSS)


def _lost(context: MetricContext, step: int) -> NDArray[np.bool_]:
    w = context.weights
    lost = w.lost[list(w.steps).index(step)]
    return np.asarray(lost[: len(context.trajectory.at(step).labels)], dtype=bool)
