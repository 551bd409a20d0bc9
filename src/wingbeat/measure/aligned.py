"""The metrics "l2_aligned" and "barrier_aligned": what is left after permuting units.

A replica may have learned what the reference has, in other units. Each is permuted onto the
reference by weight matching, and distance and barrier are measured again. Distances at every
recorded step since the first fork, or as many of them as cost no more arithmetic than training;
barriers to the reference at the last step, on the samples of "barrier", with statistics of batch
normalisation estimated anew at every point as there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from wingbeat.errors import CONSTANT, DIVERGED, NO_PERMUTATIONS, NO_PREDICTIONS
from wingbeat.landscape import Probe, line
from wingbeat.measure.barriers import ROWS, TRAINING_PASSES, curve_rows, evenly
from wingbeat.measure.rows import owners
from wingbeat.measure.symmetries import Alignment, alignment, specification
from wingbeat.measure.table import words
from wingbeat.metrics.blocks import blocks
from wingbeat.replicas.fork import REFERENCE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wingbeat.landscape import Lines, Models
    from wingbeat.measure.scene import Scene
    from wingbeat.replicas.snapshot import Snapshot
    from wingbeat.symmetry import PermutationSpec

    Array = NDArray[np.float64]

SWEEPS: Final = 5
"""Passes over all groups that a descent takes, about; for the estimate of its cost."""
ALIGNED: Final = {
    curve: metric.replace("barrier", "barrier_aligned") for curve, metric in ROWS.items()
}
"""Curve on the line → name of the aligned barrier's rows."""
CURVE: Final = "loss_train"
"""The curve whose every point is kept."""


def distances(scene: Scene) -> None:
    """Add the rows of "l2_aligned" and the share of units that alignment leaves in place."""
    values = shares = np.full(len(scene.labels), np.nan)
    spec = specification(scene)
    for step in affordable(scene):
        scene.tick(f"alignment at step {step}")
        snapshot = scene.trajectory.at(step)
        found = alignment(scene, snapshot)
        values = shares = np.full(len(snapshot.labels), np.nan)
        if found is not None:
            values, shares = _apart(found.models), found.shares
        _rows(scene, snapshot, "l2_aligned", values, _why(found))
        _rows(scene, snapshot, "fixed_point_share", shares, _why(found, CONSTANT))
    none = NO_PERMUTATIONS if spec is None else DIVERGED
    scene.keep("final_l2_aligned", values, low=0.0, reason=none)
    none = none if spec is None or spec.groups else CONSTANT
    scene.keep("final_fixed_point_share", shares, low=0.0, high=1.0, reason=none)


def barriers(scene: Scene) -> None:
    """Add the rows of "barrier_aligned": to the reference, at the last step."""
    last = scene.trajectory.steps[-1]
    scene.tick(f"aligned barriers at step {last}")
    snapshot = scene.trajectory.at(last)
    found = alignment(scene, snapshot)
    asked = scene.step.task.barriers
    stacked = None if scene.step.functional else False
    probe = Probe(scene.step, samples=asked.samples, stacked=stacked)
    lines = None if found is None else _to_first(probe, found.models, asked.points)
    for curve, metric in ALIGNED.items():
        if curve.endswith("test") and "test" not in probe.data:
            continue
        there = lines is not None and curve in lines.curves
        values = np.full(len(snapshot.labels), np.nan)
        if lines is not None and there:
            values = lines.matrix(curve)[0]
        other = DIVERGED if lines is None or there else NO_PREDICTIONS
        _rows(scene, snapshot, metric, values, _why(found, other))
        none = NO_PERMUTATIONS if found is None else other
        scene.keep(f"final_{metric}", values, low=0.0, reason=none)
    if lines is not None:
        curve_rows(scene, snapshot, lines, CURVE, f"line_aligned_{CURVE}")


def affordable(scene: Scene) -> list[int]:
    """Return the recorded steps at which replicas are aligned, the last one among them.

    A descent is counted as `SWEEPS` passes, in each of which every group of n units costs n
    multiplications for each weight that it moves, and n³ for its assignment; training as three
    multiplications for each weight and sample.
    """
    forks = [s.step for s in scene.trajectory if len(s.labels) > 2]
    steps = forks or [scene.trajectory.steps[-1]]
    spec, task = specification(scene), scene.step.task
    if spec is None:
        return steps[-1:]
    training = TRAINING_PASSES * task.steps * task.batch_size * scene.step.layout.size
    return evenly(steps, training // max(1, cost(spec)))


def cost(spec: PermutationSpec) -> int:
    """Return about how many multiplications a descent of weight matching takes."""
    total = 0
    for group in spec.groups:
        moved = sum(int(np.prod(spec.shapes.get(name, ()))) for name, _ in group.members)
        total += group.size * moved + int(np.prod(group.shape)) * group.size**2
    return SWEEPS * total


def _apart(models: Models) -> Array:
    """Return the distance of each of N models to the first, (N,) in float64; NaN if broken."""
    total = np.zeros(len(models))
    with np.errstate(invalid="ignore", over="ignore"):
        for block in blocks(models.params):
            total += ((block - block[0]) ** 2).sum(axis=1)
    return np.where(models.finite & models.finite[0], np.sqrt(total), np.nan)


def _to_first(probe: Probe, models: Models, points: int) -> Lines | None:
    """Return the lines from the first model to every other that is whole; None without one."""
    ok = models.finite
    alive = [(0, i) for i in range(1, len(models)) if ok[0] and ok[i]]
    return line(probe, models, alive, points) if alive else None


def _why(found: Alignment | None, other: str = DIVERGED) -> Any:
    """Return for each replica why it has no value."""
    if found is None:
        return NO_PERMUTATIONS
    whole = found.models.finite & found.models.finite[0]
    return np.where(whole, other, DIVERGED).astype(object)


def _rows(scene: Scene, snapshot: Snapshot, metric: str, values: Array, reasons: Any) -> None:
    scene.out.add(
        metric,
        values[1:],
        step=snapshot.step,
        perturbation=owners(snapshot.labels)[1:],
        a=REFERENCE,
        b=words(snapshot.labels[1:]),
        reason=np.where(np.isfinite(values), "", reasons)[1:].astype(object),
    )
