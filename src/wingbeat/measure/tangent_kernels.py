"""Tangent kernels of a run's replicas, made once for the metrics that read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from wingbeat.curvature.along import even_samples
from wingbeat.curvature.tangent import TangentKernel
from wingbeat.measure.budget import ends_and_between, forked_steps
from wingbeat.measure.features import replica_tensors
from wingbeat.typing import Array

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from wingbeat.measure.context import MetricContext

SAMPLES: Final = 128
"""Training samples of a kernel, at most."""


class RunKernels(NamedTuple):
    """The kernels of a run by step, (E, N, N) each, and the samples' classes, if there are any."""

    steps: list[int]
    kernels: dict[int, Array]
    labels: NDArray[np.int64] | None


def run_kernels(context: MetricContext) -> RunKernels:
    """Return the tangent kernels ("trace"), with as many gradients as training took.

    The first step with a perturbed replica and the last are always among them.
    """
    if "tangent_kernels" not in context.shared:
        context.shared["tangent_kernels"] = _made(context)
    found: RunKernels = context.shared["tangent_kernels"]
    return found


def _made(context: MetricContext) -> RunKernels:
    step = context.model_step
    kernel = TangentKernel(
        step.task, even_samples(step.task, SAMPLES), dtype=step.dtype, device=step.device
    )
    first = context.trajectory.at(context.trajectory.steps[0])
    own = replica_tensors(kernel.step, first, 0)
    outputs = kernel.outputs(*own).shape[1]
    # A forward and a backward pass for each sample and output: as much as a training step on it.
    look = len(kernel.indices) * outputs
    count = step.task.steps * step.task.batch_size // look
    steps = ends_and_between(forked_steps(context), count)
    kernels = {}
    for at in steps:
        context.tick(f"tangent kernels at step {at}")
        kernels[at] = kernel.gram(context.trajectory.at(at))
    return RunKernels(steps, kernels, kernel.classes(*own))
