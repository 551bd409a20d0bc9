"""What the function of one's own metric is given: one recorded moment of all replicas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.determinism import evaluation
from wingbeat.errors import RequestError
from wingbeat.landscape import Models
from wingbeat.landscape.data import select_samples
from wingbeat.metrics.blocks import blocks
from wingbeat.representation.capture import Recorder
from wingbeat.representation.layers import fitting, with_axes
from wingbeat.task.batches import eval_batches, placer
from wingbeat.task.data import len_of
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wingbeat.measure.context import MetricContext
    from wingbeat.replicas.snapshot import Snapshot
    from wingbeat.task.step import TrainingStep


SAMPLES: Final = 512
"""Samples whose activations are given, at most."""
FEWEST: Final = 16
"""Samples below which activations say too little to start."""
MEMORY: Final = 256 << 20
"""Bytes that the activations of all replicas may take: 256 MiB."""


@dataclass(frozen=True)
class MomentView:
    """All replicas, or those of one perturbation, at one recorded step.

    Attributes:
        snapshot: the recorded moment as it lies on disk.
        context: the run it belongs to.
        places: which of the replicas are seen; None for all.
    """

    snapshot: Snapshot
    context: MetricContext
    places: tuple[int, ...] | None = None

    @property
    def step(self) -> int:
        """Updates made so far."""
        return self.snapshot.step

    @property
    def labels(self) -> tuple[str, ...]:
        """E replica labels: "reference", "null", then the perturbed ones that have forked."""
        every = self.snapshot.labels
        return tuple(every) if self.places is None else tuple(every[i] for i in self.places)

    def of(self, places: Sequence[int]) -> MomentView:
        """Return the view of some of the replicas."""
        return MomentView(self.snapshot, self.context, tuple(places))

    def blocks(self) -> Iterator[tuple[str, Array]]:
        """Yield (tensor name, weights (E, p) in float64), a few parameters at a time.

        Of all replicas the reference is row 0. A tensor may come in several blocks.
        """
        for name, tensor in self.snapshot.params.items():
            kept = tensor if self.places is None else tensor[list(self.places)]
            for block in blocks(kept.reshape(len(kept), -1)):
                yield name, block

    @property
    def losses(self) -> Array:
        """Training loss of every step since the record before, (steps, E); NaN before a fork."""
        every = self.snapshot.losses.double().cpu().numpy()
        return every if self.places is None else every[:, list(self.places)]

    @property
    def model_step(self) -> TrainingStep:
        """The task's pure step, which runs a model from its flat weights."""
        return self.context.model_step

    @property
    def models(self) -> Models:
        """The models as one stack of flat weights and buffers."""
        every = Models.of_snapshot(self.model_step, self.snapshot)
        return every if self.places is None else every.take(self.places)

    def activations(self) -> dict[str, Array]:
        """Return what every layer gives, {layer: (E, samples, features)} in float64.

        On at most 512 evenly spaced samples of the evaluation data (of the training data where
        there are none), on fewer where the activations of all replicas would take more than 256
        MiB; the same samples at every step. Layers are all modules without children.

        Raises:
            RequestError: those of 16 samples do not fit into that memory.
        """
        step, task, models = self.model_step, self.model_step.task, self.models
        given = task.data if task.eval_data is None else task.eval_data
        place = placer(step.dtype, step.device)

        def features(i: int, count: int) -> dict[str, Array]:
            batch = next(iter(eval_batches(select_samples(given, count), count, place)))[0]
            own = {name: b[i].to(step.device) for name, b in models.buffers.items()}
            found = step.evaluate(recorder, models.params[i].to(step.device), own, batch)
            return {name: x.double().cpu().numpy() for name, x in found.items()}

        with evaluation():
            recorder = self._recorder(given)
            count = self._count(recorder, given)
            each = [features(i, count) for i in range(len(models))]
        return {name: np.stack([one[name] for one in each]) for name in each[0]}

    def _recorder(self, data: object) -> Recorder:
        """Return what takes the activations, with the axis of each layer that counts samples."""
        step, models = self.model_step, self.models
        few = next(iter(eval_batches(data, min(4, len_of(data)), placer(step.dtype, step.device))))
        own = {name: b[0].to(step.device) for name, b in models.buffers.items()}
        first = models.params[0].to(step.device)
        return with_axes(step, Recorder(step.task.loss), first, own, [few[0]])

    def _count(self, recorder: Recorder, data: object) -> int:
        """Return on how many samples activations fit into memory, known after the first call."""
        shared = self.context.shared
        if "activation_samples" not in shared:
            step, models = self.model_step, self.models
            place = placer(step.dtype, step.device)
            few = next(iter(eval_batches(data, min(4, len_of(data)), place)))[0]
            own = {name: b[0].to(step.device) for name, b in models.buffers.items()}
            probe = step.evaluate(recorder, models.params[0].to(step.device), own, few)
            # Of all replicas of the run, so that the number does not change when some fork.
            fits = fitting({k: x.double() for k, x in probe.items()}, MEMORY)
            fits //= len(self.context.labels)
            if fits < min(FEWEST, len_of(data)):
                raise RequestError(
                    f"the activations of {FEWEST} samples of {len(self.context.labels)} replicas "
                    f"take more than {MEMORY >> 20} MiB: run fewer replicas"
                )
            shared["activation_samples"] = min(SAMPLES, fits, len_of(data))
        found: int = shared["activation_samples"]
        return found
