"""The metric "barrier": loss and error barriers of a run's replicas.

What is computed follows from its cost. A line of 25 points costs 23 evaluations of all samples
besides its ends, so barriers of every replica at every snapshot would often cost more than the
training. Therefore: at most 1,024 evenly spaced samples of each set of data; to the reference at
as many recorded steps, evenly spaced, as together cost no more forward passes than training did;
between all pairs, with the whole curve and its error bar, at the last step only. A task whose
model is large asks for less (`Task.barriers`).
"""

from __future__ import annotations

from itertools import combinations
from math import inf
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from wingbeat.errors import DIVERGED, NO_PREDICTIONS
from wingbeat.landscape import Models, Probe, line
from wingbeat.measure.budget import TRAINING_PASSES, evenly, looked_at
from wingbeat.measure.metric import Definition, metric_of_run
from wingbeat.metrics.basins import ERROR_THRESHOLD, basins
from wingbeat.replicas.fork import NULL, REFERENCE
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wingbeat.landscape import Lines
    from wingbeat.measure.context import MetricContext
    from wingbeat.replicas.snapshot import Snapshot


MOST_PAIRS: Final = 300
"""Pairs at the last step, at most; above, those within a perturbation and with the reference."""
DRAWS: Final = 1000
"""Resamples of the batches for an error bar."""
ROWS: Final = {
    "loss_train": "barrier_train",
    "error_train": "barrier_error_train",
    "loss_test": "barrier_test",
    "error_test": "barrier_error_test",
}
"""Curve on the line → name of its barrier's rows."""


@metric_of_run(
    "barrier",
    needs="models",
    per="pair",
    unit="loss, share",
    range=(0, inf),
    direction="0 = one basin",
    caption="How far loss and error rise above the line between their ends on the straight way "
    "from one replica's weights to another's, on training and on held-out data",
    source="Frankle et al., arXiv 1912.05671",
    cost="about 23 evaluations of at most 1,024 samples per pair; to the reference at as many "
    "steps as together cost no more than training, between all pairs at the last",
    rows=(
        *(f"{row}{end}" for row in ROWS.values() for end in ("", "_low", "_high")),
        *(f"line_{curve}" for curve in ROWS),
        "basin",
    ),
    summary=tuple(f"final_{row}" for row in ROWS.values()),
    definitions=(
        Definition(
            "barrier",
            "max over α of ℓ((1−α)w_ref + αw_i) − [(1−α)ℓ(w_ref) + αℓ(w_i)]",
            "In units of the loss, or a share of errors; 0 = the loss nowhere rises above the "
            "line between its ends. Running statistics of batch norm are estimated anew at every "
            "α.",
        ),
    ),
    order=180,
)
def barrier(context: MetricContext) -> None:
    """Add the rows of "barrier" and the final barriers to the reference for the summary."""
    asked = context.model_step.task.barriers
    stacked = None if context.model_step.functional else False
    probe = Probe(context.model_step, samples=asked.samples, stacked=stacked)
    last = context.trajectory.steps[-1]
    for step in steps_within_budget(context, probe):
        context.tick(f"barriers at step {step}")
        snapshot = context.trajectory.at(step)
        if step != last:
            _reference_rows(context, probe, snapshot, _to_reference(snapshot))
            continue
        pairs = final_pairs(snapshot) if asked.between else _to_reference(snapshot)
        lines = _reference_rows(context, probe, snapshot, pairs)
        _between(context, snapshot, lines)


def steps_within_budget(context: MetricContext, probe: Probe) -> list[int]:
    """Return the recorded steps at which barriers to the reference are measured, the last one too.

    Args:
        context: the run.
        probe: its data decide what a barrier costs.
    """
    steps = looked_at(context)
    task, replicas = context.model_step.task, max(1, len(context.labels) - 2)
    training = TRAINING_PASSES * task.steps * task.batch_size * replicas
    samples = sum(sum(portions.sizes) for portions in probe.data.values())
    return evenly(steps, training // max(1, samples * (task.barriers.points - 1) * replicas))


def final_pairs(snapshot: Snapshot) -> list[tuple[int, int]]:
    """Return the pairs of the last step: all but those of the twin, or a part if too many."""
    labels = snapshot.labels
    reference = _to_reference(snapshot)
    others = [(i, j) for i, j in combinations(range(2, len(labels)), 2)]
    if len(reference) + len(others) > MOST_PAIRS:
        family = [label.rsplit("#", 1)[0] for label in labels]
        others = [(i, j) for i, j in others if family[i] == family[j]]
    return [*reference, *others]


def _to_reference(snapshot: Snapshot) -> list[tuple[int, int]]:
    return [(0, i) for i in range(1, len(snapshot.labels))]


def _reference_rows(
    context: MetricContext, probe: Probe, snapshot: Snapshot, pairs: Sequence[tuple[int, int]]
) -> Lines | None:
    """Add a barrier of every kind for each pair; a pair with a broken replica has none."""
    models = Models.of_snapshot(context.model_step, snapshot)
    ok = models.finite
    alive = [(i, j) for i, j in pairs if ok[i] and ok[j]]
    points = context.model_step.task.barriers.points
    lines = line(probe, models, alive, points) if alive else None
    for curve, metric in ROWS.items():
        if curve.endswith("test") and "test" not in probe.data:
            continue
        heights = np.full(len(pairs), np.nan)
        reasons = np.full(len(pairs), DIVERGED, dtype=object)
        if lines is not None and curve in lines.curves:
            found = dict(zip(alive, lines.curve(curve).barrier().value, strict=True))
            heights = np.array([found.get(pair, np.nan) for pair in pairs])
        elif lines is not None:
            reasons[:] = [NO_PREDICTIONS if ok[i] and ok[j] else DIVERGED for i, j in pairs]
        _pair_rows(context, snapshot, metric, pairs, heights, reasons)
    return lines


def _pair_rows(
    context: MetricContext,
    snapshot: Snapshot,
    metric: str,
    pairs: Sequence[tuple[int, int]],
    values: Array,
    reasons: Any = DIVERGED,
) -> None:
    own = [_family(context, pair) for pair in pairs]
    context.out.add(
        metric,
        values,
        step=snapshot.step,
        perturbation=np.array(own, dtype=object),
        a=np.array([snapshot.labels[i] for i, _ in pairs], dtype=object),
        b=np.array([snapshot.labels[j] for _, j in pairs], dtype=object),
        reason=np.where(np.isfinite(values), "", reasons),
    )


def _family(context: MetricContext, pair: tuple[int, int]) -> str:
    """Return the perturbation that a pair belongs to; "" between two of them."""
    first, second = (context.owner(i) for i in pair)
    return second if pair[0] == 0 or first == second else ""


def _between(context: MetricContext, snapshot: Snapshot, lines: Lines | None) -> None:
    """Add what only the last step has: curves, error bars, basins, and the summary's values."""
    count = len(snapshot.labels)
    for curve, metric in ROWS.items():
        values = np.full(count, np.nan)
        if lines is not None and curve in lines.curves:
            values = lines.matrix(curve)[0]
            curve_rows(context, snapshot, lines, curve, f"line_{curve}")
            _error_bars(context, snapshot, lines, curve)
            context.keep(f"final_{metric}", values, low=0.0)
    _basin_rows(context, snapshot, lines)


def curve_rows(
    context: MetricContext, snapshot: Snapshot, lines: Lines, curve: str, metric: str
) -> None:
    """Add the whole curve from the reference to each replica; α stands in the layer column.

    Args:
        context: takes the rows.
        snapshot: the moment.
        lines: the curves; those of pairs with the reference are added.
        curve: which of them.
        metric: name of the rows.
    """
    found = lines.curve(curve)
    kept = [q for q, (i, _) in enumerate(lines.pairs) if i == 0]
    values = found.values[kept]
    labels = np.array([snapshot.labels[lines.pairs[q][1]] for q in kept], dtype=object)
    own = np.array([_family(context, lines.pairs[q]) for q in kept], dtype=object)
    context.out.add(
        metric,
        np.where(np.isfinite(values), values, np.nan),
        step=snapshot.step,
        perturbation=own[:, None],
        a=REFERENCE,
        b=labels[:, None],
        layer=np.array([f"alpha={alpha:.6g}" for alpha in found.alphas], dtype=object),
        reason=np.where(np.isfinite(values), "", DIVERGED),
    )


def _error_bars(context: MetricContext, snapshot: Snapshot, lines: Lines, curve: str) -> None:
    """Add both ends of the interval over batches for the pairs with the reference."""
    kept = [q for q, (i, _) in enumerate(lines.pairs) if i == 0]
    found = lines.curve(curve).estimates(draws=DRAWS, only=kept)
    pairs = [lines.pairs[q] for q in kept]
    reasons = np.array([e.interval_reason or e.reason or DIVERGED for e in found], dtype=object)
    for end in ("low", "high"):
        values = np.array([getattr(e, end) for e in found])
        _pair_rows(context, snapshot, f"{ROWS[curve]}_{end}", pairs, values, reasons)


def _basin_rows(context: MetricContext, snapshot: Snapshot, lines: Lines | None) -> None:
    """Add the basin of each replica: within one, no train-error barrier exceeds two points."""
    labels = np.array(snapshot.labels, dtype=object)
    own = np.array([context.owner(i) for i in range(len(labels))], dtype=object)
    kept = np.flatnonzero(labels != NULL)
    values = np.full(len(kept), np.nan)
    reason = DIVERGED if lines is None or "error_train" in lines.curves else NO_PREDICTIONS
    if lines is not None and "error_train" in lines.curves:
        matrix = lines.matrix("error_train")[np.ix_(kept, kept)]
        found = basins(matrix, ERROR_THRESHOLD).labels
        values = np.where(found >= 0, found.astype(float), np.nan)
    context.out.add(
        "basin",
        values,
        step=snapshot.step,
        perturbation=own[kept],
        b=labels[kept],
        reason=np.where(np.isfinite(values), "", reason),
    )
