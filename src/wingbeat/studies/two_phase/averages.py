"""The kernel of averaged weights: is the turn that is left late in training jitter of the rate?

At a constant learning rate weights jitter, and with them the kernel. An average over some records
has less of it: noise without memory leaves one part in as many as are averaged of 1 − cosine, while
a kernel that drifts or diffuses comes as far with averages as with single records.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch

from wingbeat.curvature.along import even_samples
from wingbeat.curvature.tangent import TangentKernel
from wingbeat.determinism import evaluation
from wingbeat.landscape.data import portions
from wingbeat.landscape.normalisation import Normaliser, executed, tracked
from wingbeat.measure.features import replica_tensors
from wingbeat.studies.curvature import Measured, task_of
from wingbeat.studies.two_phase.measure import KERNEL_SAMPLES, confinement_of, evenly
from wingbeat.studies.two_phase.plan import AVERAGED, WINDOW
from wingbeat.task.step import TrainingStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from wingbeat.execution.result import Result
    from wingbeat.trajectory.trajectory import Trajectory
    from wingbeat.typing import Array, Buffers


def averages(result: Result) -> Measured:
    """Return whether kernels of averaged weights keep still where those of single records do not.

    Over the second half of training: ``average_slope``, ``average_plateau`` and
    ``average_structure/dt`` of averages of successive records, and ``single_…`` of the record in
    the middle of each, so that both have the same moments and times. All again with ``centred_``
    before.
    """
    step = TrainingStep(task_of(result), torch.float32, torch.device("cpu"))
    kernel = TangentKernel(step.task, even_samples(step.task, KERNEL_SAMPLES))
    trajectory = result.trajectory
    found: Measured = {}
    made: dict[str, dict[int, Array]] = {"single": {}, "average": {}}
    for block in blocks(trajectory.steps):
        middle = block[len(block) // 2]
        single = replica_tensors(kernel.step, trajectory.at(middle), 0)
        made["single"][middle] = kernel.matrix(*single)
        made["average"][middle] = kernel.matrix(*averaged(step, trajectory, block))
    for name, kernels in made.items():
        for prefix, centred in ((f"{name}_", False), (f"centred_{name}_", True)):
            found |= confinement_of(kernels, prefix, centred=centred)
    return found


def blocks(steps: Sequence[int]) -> list[list[int]]:
    """Return successive groups of evenly spaced records of the second half, counted from the end.

    >>> blocks(range(0, 101, 5))
    [[55, 60, 65, 70, 75], [80, 85, 90, 95, 100]]
    """
    late = evenly(steps, WINDOW)
    late = late[len(late) % AVERAGED :]
    return [late[i : i + AVERAGED] for i in range(0, len(late), AVERAGED)]


def averaged(
    step: TrainingStep, trajectory: Trajectory, steps: Sequence[int]
) -> tuple[Tensor, Buffers]:
    """Return the mean of the reference's weights over some records, and buffers that fit them.

    Running statistics of batch normalisation are estimated anew, on the data that the model is
    trained on; other buffers are means too, or where they count, those of the last record.
    """
    total = torch.zeros(step.layout.size, dtype=torch.float64)
    sums: dict[str, Tensor] = {}
    for at in steps:
        params, buffers = replica_tensors(step, trajectory.at(at), 0)
        total += params.double().cpu()
        for name, value in buffers.items():
            held = sums.get(name, torch.zeros_like(value, dtype=torch.float64))
            sums[name] = held + value.double()
    mean = (total / len(steps)).to(params)
    fitting = {
        name: (sums[name] / len(steps)).to(value) if value.is_floating_point() else value
        for name, value in buffers.items()
    }
    return mean, normalised(step, mean, fitting)


def normalised(step: TrainingStep, params: Tensor, buffers: Buffers) -> Buffers:
    """Return the buffers with running statistics as these weights have them on training data."""
    if not tracked(step.skeleton):
        return buffers
    data = portions(step, step.task.data, samples=None)
    with evaluation():
        names = step.evaluate(partial(executed, step.task), params, buffers, data.batches[0])
        whole = Normaliser(step.task, data, names, whole=False)
        return whole(lambda f, batch: step.evaluate(f, params, buffers, batch), buffers)
