"""The metric "l2_aligned": the distance that is left after permuting units.

A replica may have learned what the reference has, in other units. Each is permuted onto the
reference by weight matching, and the distance is measured again: at every recorded step since the
first fork, or at as many of them as cost no more arithmetic than training; at the last alone where
``Task.barriers.along`` is off.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.errors import CONSTANT, DIVERGED
from wingbeat.measure.budget import TRAINING_PASSES, evenly, looked_at
from wingbeat.measure.metric import Definition, metric_of_run
from wingbeat.measure.symmetries import (
    aligned_rows,
    alignment,
    specification,
    why_none,
    why_not_aligned,
)
from wingbeat.metrics.blocks import blocks
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.landscape import Models
    from wingbeat.measure.context import MetricContext
    from wingbeat.symmetry import PermutationSpec


SWEEPS: Final = 5
"""Passes over all groups that a descent takes, about; for the estimate of its cost."""


@metric_of_run(
    "l2_aligned",
    needs="models",
    per="replica",
    compares=True,
    unit="weight",
    range=(0, inf),
    direction="0 = identical up to permutation",
    label="aligned L2 distance",
    caption="Distance to the reference after permuting a replica's units onto the reference's, "
    "and the share of units that stay in place",
    source="Ainsworth et al., arXiv 2209.04836",
    cost="an assignment per group of units and look; as many looks as together cost no more than "
    "training",
    rows=("l2_aligned", "fixed_point_share"),
    summary=("final_l2_aligned", "final_fixed_point_share"),
    definitions=(
        Definition(
            "aligned",
            "‖w_ref − P w_i‖₂, and the barrier between w_ref and P w_i",
            "P permutes the units of a replica onto the reference's by weight matching and leaves "
            "what it computes as it is. 0 = the same up to permutation.",
        ),
    ),
    order=190,
)
def l2_aligned(context: MetricContext) -> None:
    """Add the rows of "l2_aligned" and the share of units that alignment leaves in place."""
    values = shares = np.full(len(context.labels), np.nan)
    found = None
    spec = specification(context)
    for step in steps_within_budget(context):
        context.tick(f"alignment at step {step}")
        snapshot = context.trajectory.at(step)
        found = alignment(context, snapshot)
        values = shares = np.full(len(snapshot.labels), np.nan)
        if found is not None:
            values, shares = _apart(found.models), found.shares
        aligned_rows(context, snapshot, "l2_aligned", values, why_not_aligned(found))
        why = why_not_aligned(found, CONSTANT)
        aligned_rows(context, snapshot, "fixed_point_share", shares, why)
    none = why_none(found, DIVERGED)
    context.keep("final_l2_aligned", values, low=0.0, reason=none)
    none = none if spec is None or spec.groups else CONSTANT
    context.keep("final_fixed_point_share", shares, low=0.0, high=1.0, reason=none)


def steps_within_budget(context: MetricContext) -> list[int]:
    """Return the recorded steps at which replicas are aligned, the last one among them.

    A descent is counted as `SWEEPS` passes, in each of which every group of n units costs n
    multiplications for each weight that it moves, and n³ for its assignment; training as three
    multiplications for each weight and sample.
    """
    steps = looked_at(context)
    spec, task = specification(context), context.model_step.task
    if spec is None:
        return steps[-1:]
    training = TRAINING_PASSES * task.steps * task.batch_size * context.model_step.layout.size
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
