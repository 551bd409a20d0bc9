"""Features of the layers of one replica at a time, on the same samples at every step of a run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import torch

from wingbeat.determinism import evaluation
from wingbeat.errors import RequestError
from wingbeat.landscape.data import select_samples
from wingbeat.representation.capture import Recorder
from wingbeat.representation.layers import fitting, with_axes
from wingbeat.task.batches import eval_batches, placer
from wingbeat.task.data import len_of
from wingbeat.typing import Array

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.measure.context import MetricContext
    from wingbeat.replicas.snapshot import Snapshot
    from wingbeat.task.step import TrainingStep

SAMPLES: Final = 512
"""Samples that features are taken on, at most."""
FEWEST: Final = 16
"""Samples below which features say too little to start."""
MEMORY: Final = 256 << 20
"""Bytes for the features that a metric holds at once: 256 MiB."""


@dataclass
class RunFeatures:
    """Takes the features of any replica at any recorded step.

    Attributes:
        step: the task's pure step.
        recorder: of the layers.
        batch: the samples, on the step's device.
        samples: how many they are.
        losses: the task's loss on them at the last call.
    """

    step: TrainingStep
    recorder: Recorder
    batch: Any
    samples: int
    losses: list[float] = field(default_factory=list)

    def __call__(self, snapshot: Snapshot, place: int) -> dict[str, Array]:
        """Return the features (samples, units) of each layer of one replica, in float64."""
        self.losses.clear()
        with evaluation():
            found = self.step.evaluate(
                self.recorder, *replica_tensors(self.step, snapshot, place), self.batch
            )
        return {name: x.double().cpu().numpy() for name, x in found.items()}


def run_features(
    context: MetricContext,
    data: Any,
    *,
    layers: tuple[str, ...] | None = None,
    held: int = 1,
) -> RunFeatures:
    """Return what takes features of a run.

    Args:
        context: the run.
        data: as ``Task.data``; at most 512 evenly spaced samples are used, fewer where the features
            that are held at once would take more than 256 MiB.
        layers: names; None for all modules without children that give one row a sample.
        held: features of how many models are held at once.

    Raises:
        RequestError: those of 16 samples do not fit into that memory.
    """
    step, first = context.model_step, context.trajectory.at(context.trajectory.steps[0])
    place, tensors = placer(step.dtype, step.device), replica_tensors(step, first, 0)
    few = next(iter(eval_batches(select_samples(data, min(4, len_of(data))), 4, place)))[0]
    losses: list[float] = []

    def loss(model: torch.nn.Module, batch: Any) -> Any:
        """Note the value of the task's loss."""
        value = step.task.loss(model, batch)
        losses.append(float(value))
        return value

    with evaluation():
        plain = Recorder(step.task.loss, layers)
        recorder = with_axes(step, plain, *tensors, [few])
        probe = step.evaluate(recorder, *tensors, few)
    fits = fitting({k: x.double() for k, x in probe.items()}, MEMORY) // held
    if fits < min(FEWEST, len_of(data)):
        raise RequestError(
            f"the features of {FEWEST} samples take more than {MEMORY >> 20} MiB: leave this "
            "metric out"
        )
    count = min(SAMPLES, fits, len_of(data))
    batch = next(iter(eval_batches(select_samples(data, count), count, place)))[0]
    return RunFeatures(step, replace(recorder, loss=loss), batch, count, losses)


def seen_data(context: MetricContext) -> Any:
    """Return the evaluation data of a run, else its training data."""
    task = context.model_step.task
    return task.data if task.eval_data is None else task.eval_data


def replica_tensors(
    step: TrainingStep, snapshot: Snapshot, place: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the flat weights and the buffers of one replica, on the step's device."""
    params = step.layout.flatten({name: t[place] for name, t in snapshot.params.items()})
    buffers = {name: b[place].to(step.device) for name, b in snapshot.buffers.items()}
    return params.to(step.device), buffers
