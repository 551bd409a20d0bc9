"""Tangent kernels of a run's replicas, made once for the metrics that read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from wingbeat.curvature.along import even_samples
from wingbeat.curvature.tangent import TangentKernel
from wingbeat.measure.budget import ends_and_between, forked_steps
from wingbeat.measure.features import replica_tensors
from wingbeat.metrics.kernel import kernel_distance
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wingbeat.measure.context import MetricContext

SAMPLES: Final = 128
"""Training samples of a kernel, at most."""
MEMORY: Final = 256 << 20
"""Bytes for the kernels of all tensors at three moments: now, the record before and the first."""
LAYERS: Final = (
    "kernel_distance",
    "kernel_motion",
    "kernel_from_start",
    "kernel_norm_ratio",
    "kernel_share",
)
"""What is told of the part of the kernel that each tensor makes."""


class RunKernels(NamedTuple):
    """The kernels of a run.

    Attributes:
        steps: at which they were made.
        kernels: by step, (E, N, N) each.
        labels: the samples' classes, if there are any.
        layers: by step and row, for each tensor the value of every replica, (E,): see ``LAYERS``.
    """

    steps: list[int]
    kernels: dict[int, Array]
    labels: NDArray[np.int64] | None
    layers: dict[int, dict[str, dict[str, Array]]]


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
    kernels: dict[int, Array] = {}
    layers: dict[int, dict[str, dict[str, Array]]] = {}
    parts = Parts()
    for at in steps:
        context.tick(f"tangent kernels at step {at}")
        snapshot = context.trajectory.at(at)
        if not _fits(step.layout.names, len(context.labels), len(kernel.indices)):
            kernels[at] = kernel.gram(snapshot)
            continue
        now = kernel.gram_by_layer(snapshot)
        kernels[at] = np.asarray(sum(now.values()))
        layers[at] = parts.compared(now, kernels[at])
    return RunKernels(steps, kernels, kernel.classes(*own), layers)


def _fits(names: tuple[str, ...], replicas: int, samples: int) -> bool:
    return 3 * 8 * len(names) * replicas * samples**2 <= MEMORY


class Parts:
    """The parts of the kernels that tensors make, compared from moment to moment."""

    def __init__(self) -> None:
        self.first: dict[str, list[Array]] = {}
        self.before: dict[str, list[Array]] = {}

    def compared(self, now: Mapping[str, Array], whole: Array) -> dict[str, dict[str, Array]]:
        """Return the rows of a moment, each by tensor with a value of every replica, (E,).

        Args:
            now: parts by tensor, (E, N, N).
            whole: their sum.
        """
        found: dict[str, dict[str, Array]] = {row: {} for row in LAYERS}
        trace = np.einsum("enn->e", whole)
        for name, parts in now.items():
            every = list(parts)
            first = self.first.setdefault(name, [])
            first += every[len(first) :]
            before = self.before.get(name, [])
            past = [*before, *every[len(before) :]]
            with np.errstate(invalid="ignore", divide="ignore"):
                share = np.einsum("enn->e", parts) / trace
                grown = [
                    np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(every, first, strict=True)
                ]
            values = (
                _apart(every, every[:1] * len(every)),
                _apart(every, past),
                _apart(every, first),
                np.array(grown),
                share,
            )
            for row, own in zip(LAYERS, values, strict=True):
                found[row][name] = own
            self.before[name] = every
        return found


def _apart(now: list[Array], then: list[Array]) -> Array:
    return np.array([kernel_distance(a, b) for a, b in zip(now, then, strict=True)])
