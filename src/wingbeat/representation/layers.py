"""Two models layer against layer, and a stack of replicas against its first, by CKA."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch.func import functional_call
from torch.utils import _pytree as pytree

from wingbeat.determinism import evaluation
from wingbeat.errors import RequestError
from wingbeat.metrics.cka import LEAST_SAMPLES, CKASums
from wingbeat.metrics.hsic_terms import Estimator, centred_gram
from wingbeat.representation.capture import Positions, Recorder, check_layers, sample_axes
from wingbeat.task.batches import copied, eval_batches, placer
from wingbeat.task.data import len_of
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from wingbeat.task.data import Batch
    from wingbeat.task.step import TrainingStep
    from wingbeat.task.task import Task

    Features = dict[str, Tensor]

MEMORY: Final = 256 << 20
"""Bytes that the activations of one minibatch may take: 256 MiB."""
_FEW: Final = 4
"""Samples of a first look at the layers."""
FEWEST: Final = 16
"""Samples of a minibatch below which a comparison is too rough to start."""


@dataclass(frozen=True)
class LayerMatrix:
    """CKA of every layer of one model with every layer of another.

    Attributes:
        first: names of A layers.
        second: names of B layers.
        cka: (A, B), 1 = the same representation; NaN with a reason.
        reasons: (A, B), "" where there is a value; ``constant`` for a dead layer,
            ``too_few_samples``, ``diverged``.
        estimator: which one, see `wingbeat.metrics.cka.cka`.
        samples: samples that were used.
        left_out: samples of a last minibatch too small for the estimator.
        batch_size: samples of a minibatch.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    cka: Array
    reasons: NDArray[Any]
    estimator: Estimator
    samples: int
    left_out: int
    batch_size: int

    @property
    def angles(self) -> Array:
        """Angular CKA in radian, (A, B), 0 = the same."""
        return np.asarray(np.arccos(self.cka))


def compare_layers(
    task: Task,
    a: nn.Module,
    b: nn.Module,
    *,
    layers: Sequence[str] | None = None,
    layers_b: Sequence[str] | None = None,
    data: Any = None,
    estimator: Estimator = "debiased",
    positions: Positions = "flatten",
    batch_size: int | None = None,
    memory: int = MEMORY,
) -> LayerMatrix:
    """Return CKA between all layers of two models, in one pass over the data.

    Args:
        task: its loss runs the models, its evaluation data (else its training data) are what they
            run on, in order, without augmentation, in eval mode.
        a: a model that the task's loss accepts; it is copied and not changed.
        b: another, of any architecture.
        layers: names in ``a.named_modules()``; by default all modules without children.
        layers_b: likewise in ``b``; by default as ``layers``.
        data: other data than the task's.
        estimator: "debiased", "biased" or "zero_diagonal".
        positions: what becomes of positions and places, see `as_features`.
        batch_size: samples of a minibatch; by default as many as ``memory`` holds, at most
            ``task.eval_batch_size``. With as many as there are samples, CKA is the estimate on
            all of them at once; else see `wingbeat.metrics.cka.CKASums`.
        memory: bytes for the activations of both models on one minibatch.

    Raises:
        RequestError: a layer does not exist (the nearest is suggested), did not run or gives no
            activation for each sample; ``batch_size`` is larger than the data or smaller than the
            estimator needs; ``memory`` holds less than 16 samples.

    Source: Kornblith et al., arXiv 1905.00414; minibatches: Nguyen et al., arXiv 2010.15327.

    >>> from wingbeat.tasks.dense import circles_task
    >>> task = circles_task()
    >>> found = compare_layers(task, task.model(), task.model())
    >>> found.cka.shape == (len(found.first), len(found.second))
    True
    """
    if layers_b is None:
        layers_b = layers
    given = (
        data if data is not None else task.eval_data if task.eval_data is not None else task.data
    )
    sides = [Side.of(task, m, n, positions) for m, n in ((a, layers), (b, layers_b))]
    CKASums.empty(1, 1, estimator)  # refuses an unknown estimator before a model runs
    with evaluation():
        sides = [side.with_axes(given) for side in sides]
        probes = [side(next(side.batches(given, min(_FEW, len_of(given))))) for side in sides]
        size = _batch_size(given, probes, batch_size, task.eval_batch_size, memory, estimator)
        names = tuple(tuple(found) for found in probes)
        sums = CKASums.empty(len(names[0]), len(names[1]), estimator)
        for one, other in zip(*(side.batches(given, size) for side in sides), strict=True):
            first, second = sides[0](one), sides[1](other)
            sums = sums.add(list(first.values()), list(second.values()))
    return LayerMatrix(
        names[0], names[1], sums.cka(), sums.reasons(), estimator, sums.samples, sums.left_out, size
    )


def compare_stack(
    step: TrainingStep,
    params: Tensor,
    buffers: Mapping[str, Tensor],
    batches: Iterable[Batch],
    *,
    layers: tuple[str, ...] | None = None,
    estimator: Estimator = "debiased",
    positions: Positions = "flatten",
) -> dict[str, CKASums]:
    """Compare each of E replicas with the first, layer by layer.

    Args:
        step: the task's pure step.
        params: flat weights (E, P), as ``step.layout`` lays them out.
        buffers: by name, each (E, …).
        batches: minibatches on the step's device and in its type.
        layers: names; by default all modules without children.
        estimator: as in `compare_layers`.
        positions: as in `compare_layers`.

    Returns:
        For each layer the sums of 1 against E; the first of the E is the first itself. One
        replica's activations are held at a time, and of all E the Gram matrices of a minibatch.
    """
    kept = list(batches)
    with evaluation():
        first = params[0].to(step.device)
        held = {name: t[0].to(step.device) for name, t in buffers.items()}
        recorder = with_axes(step, Recorder(step.task.loss, layers, positions), first, held, kept)
        sums: dict[str, CKASums] = {}
        for batch in kept:
            grams: dict[str, list[Array]] = {}
            for i in range(len(params)):
                own = {name: t[i].to(step.device) for name, t in buffers.items()}
                found = step.evaluate(recorder, params[i].to(step.device), own, batch)
                for name, features in found.items():
                    grams.setdefault(name, []).append(centred_gram(features))
            for name, rows in grams.items():
                before, stack = sums.get(name), np.stack(rows)
                before = before or CKASums.empty(1, len(params), estimator)
                sums[name] = before.add_grams(stack[:1], stack)
    return sums


def with_axes(
    step: TrainingStep,
    recorder: Recorder,
    params: Tensor,
    buffers: Mapping[str, Tensor],
    batches: Sequence[Batch],
) -> Recorder:
    """Return a recorder that knows which axis of each layer counts samples.

    Args:
        step: the task's pure step.
        recorder: of the layers.
        params: flat weights (P,) of one replica.
        buffers: by name, of that replica.
        batches: minibatches; a few samples of the first are run twice.
    """
    sizes = [len(t) for t in pytree.tree_leaves(batches[0]) if isinstance(t, torch.Tensor)]
    count = min(_FEW, *sizes) if sizes else 0
    if count < 2:
        return recorder
    few, fewer = (
        step.evaluate(recorder.shapes, params, dict(buffers), _head(batches[0], n))
        for n in (count, count - 1)
    )
    return replace(recorder, axes=sample_axes(few, fewer, count))


def _head(batch: Any, count: int) -> Any:
    """Return the first samples of a batch."""
    return pytree.tree_map(lambda t: t[:count] if isinstance(t, torch.Tensor) else t, batch)


def fitting(features: Mapping[str, Tensor], memory: int) -> int:
    """Return how many samples' activations fit into a number of bytes.

    Args:
        features: those of a few samples, by layer.
        memory: bytes.
    """
    kept = sum(x.shape[1] * x.element_size() for x in features.values())
    widest = max(x.shape[1] for x in features.values())
    return memory // (kept + 16 * widest)  # one layer at a time is centred in float64


@dataclass(frozen=True)
class Side:
    """One model, with what runs it and takes its activations.

    Attributes:
        model: a copy in eval mode.
        recorder: of its layers.
        tensors: its weights and buffers.
        place: sends a batch to where they are.
    """

    model: nn.Module
    recorder: Recorder
    tensors: dict[str, Tensor]
    place: Callable[[Any], Any]

    @classmethod
    def of(
        cls, task: Task, model: nn.Module, layers: Sequence[str] | None, positions: Positions
    ) -> Side:
        """Return the side of one model, whose weights are not changed."""
        names = None if layers is None else check_layers(model, layers)
        recorder = Recorder(task.loss, names, positions)
        tensors = {k: t.detach() for k, t in (*model.named_parameters(), *model.named_buffers())}
        floating = [t for t in tensors.values() if t.is_floating_point()]
        like = floating[0] if floating else torch.zeros(())
        return cls(
            copy.deepcopy(model).eval(),
            recorder,
            {f"model.{name}": t for name, t in tensors.items()},
            placer(like.dtype, like.device),
        )

    def __call__(self, batch: Batch) -> Features:
        """Return the features of each layer."""
        found: Features = self.run(self.recorder, batch)
        return found

    def run(self, function: Callable[[nn.Module, Batch], Any], batch: Batch) -> Any:
        """Return what a function of model and batch gives."""
        return functional_call(_Runner(self.model, function), self.tensors, (copied(batch),))

    def with_axes(self, data: Any) -> Side:
        """Return itself, knowing which axis of each layer counts samples."""
        size = min(_FEW, len_of(data))
        if size < 2:
            return self
        few, fewer = (
            self.run(self.recorder.shapes, next(self.batches(data, n))) for n in (size, size - 1)
        )
        return replace(self, recorder=replace(self.recorder, axes=sample_axes(few, fewer, size)))

    def batches(self, data: Any, size: int) -> Iterator[Batch]:
        """Yield data in minibatches, placed as the model is."""
        return (batch for batch, _ in eval_batches(data, size, self.place))


class _Runner(torch.nn.Module):
    """A function of model and batch as a module, so that it can be called with other tensors."""

    def __init__(self, model: nn.Module, function: Callable[[nn.Module, Batch], Any]) -> None:
        super().__init__()
        self.model, self.function = model, function

    def forward(self, batch: Batch) -> Any:
        return self.function(self.model, batch)


def _batch_size(
    data: Any,
    probes: Sequence[Features],
    asked: int | None,
    most: int,
    memory: int,
    estimator: Estimator,
) -> int:
    count, least = len_of(data), LEAST_SAMPLES[estimator]
    if asked is not None:
        if isinstance(asked, bool) or not isinstance(asked, int) or not least <= asked <= count:
            raise RequestError(
                f"batch_size is {asked!r}: the {estimator} estimator needs at least {least}, and "
                f"the data have {count} samples"
            )
        return asked
    both = {f"{i} {name}": x for i, probe in enumerate(probes) for name, x in probe.items()}
    fits = fitting(both, memory)
    if fits < min(FEWEST, count):
        raise RequestError(
            f"memory of {memory} bytes holds the activations of {fits} samples: give at least "
            f"{memory // max(1, fits) * FEWEST}, fewer layers, or positions='mean'"
        )
    size = min(fits, most, count)
    return -(-count // -(-count // size))  # equal minibatches: the last is not a small rest
