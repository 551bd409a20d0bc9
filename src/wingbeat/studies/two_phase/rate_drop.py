"""After a drop of the learning rate: does the kernel come to rest, and where?

The same training is run a second time with a rate that falls to a stated part in the middle. Both
are looked at over the last quarter, when what the drop itself sets in motion is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from wingbeat.curvature.along import even_samples
from wingbeat.curvature.tangent import TangentKernel
from wingbeat.errors import CONSTANT
from wingbeat.measure.features import replica_tensors
from wingbeat.metrics.kernel import kernel_angle, kernel_distance
from wingbeat.replicas.fork import REFERENCE
from wingbeat.studies.curvature import Measured, number, task_of
from wingbeat.studies.two_phase.averages import averaged
from wingbeat.studies.two_phase.measure import KERNEL_SAMPLES, confinement_of, evenly, turned
from wingbeat.studies.two_phase.plan import AVERAGED, RateDrop
from wingbeat.task.step import TrainingStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wingbeat.execution.result import Result

LATE: Final = 0.75
"""Share of training after which both trainings are looked at. Fixed beforehand: half of what is
left after the drop, so that what it sets in motion is over."""


def dropped(result: Result) -> Measured:
    """Return the same after the drop, the accuracy reached, and where the drop leads.

    ``to_single`` is 1 − cosine between a kernel after the drop and that of the record at the drop,
    ``to_average`` the same from an average of the records up to the drop: smaller where the drop
    leads to the middle of what was jitter. As much training lies between (rate times updates) as
    the average spans, so that what drifts comes equally far from both.
    """
    schedule = task_of(result).schedule
    assert isinstance(schedule, RateDrop)
    step = TrainingStep(task_of(result), torch.float32, torch.device("cpu"))
    trajectory = result.trajectory
    before = [s for s in evenly(trajectory.steps, 0.0) if s <= schedule.at][-AVERAGED:]
    span = schedule.by * (schedule.at - before[0])
    after = next((s for s in trajectory.steps if s - schedule.at >= span), trajectory.steps[-1])
    kernel = TangentKernel(step.task, even_samples(step.task, KERNEL_SAMPLES))
    goal, single = (
        kernel.matrix(*replica_tensors(kernel.step, trajectory.at(s), 0))
        for s in (after, before[-1])
    )
    mean = kernel.matrix(*averaged(step, trajectory, before))
    own = result.table
    own = own[(own["metric"] == "accuracy") & (own["b"] == REFERENCE) & (own["layer"] == "")]
    reached = own.set_index("step")["value"]
    return {
        **late(result),
        "to_single": number(kernel_distance(single, goal), CONSTANT),
        "to_average": number(kernel_distance(mean, goal), CONSTANT),
        "full": number(float(reached[trajectory.steps[-1]])),
    }


def late(result: Result) -> Measured:
    """Return slope, plateau and structure function of the last quarter's kernels, as ``late_…``.

    ``late_turn`` and ``late_way`` are the mean angles of kernel and weights between two of its
    records half the quarter apart. Kernels again with ``centred_`` before.
    """
    step = TrainingStep(task_of(result), torch.float32, torch.device("cpu"))
    kernel = TangentKernel(step.task, even_samples(step.task, KERNEL_SAMPLES))
    steps = evenly(result.trajectory.steps, LATE)
    tensors = {s: replica_tensors(kernel.step, result.trajectory.at(s), 0) for s in steps}
    made = {s: kernel.matrix(*own) for s, own in tensors.items()}
    found: Measured = {}
    apart = pairs(steps)
    for prefix, centred in (("late_", False), ("centred_late_", True)):
        found |= confinement_of(made, prefix, centred=centred)
        angles = [kernel_angle(made[a], made[b], centred=centred) for a, b in apart]
        found[f"{prefix}turn"] = number(float(np.mean(angles)), CONSTANT)
    ways = [turned(tensors[a][0], tensors[b][0]) for a, b in apart]
    return {**found, "late_way": number(float(np.mean(ways)), CONSTANT)}


def pairs(steps: Sequence[int]) -> list[tuple[int, int]]:
    """Return all pairs of evenly spaced records that lie half of their whole time apart.

    >>> pairs([60, 70, 80, 90, 100])
    [(60, 80), (70, 90), (80, 100)]
    """
    half = (len(steps) - 1) // 2
    return list(zip(steps[:-half], steps[half:], strict=True))
