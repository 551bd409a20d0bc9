"""The loss before any update: is there anything to train, and what does a step remember?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from wingbeat.determinism import derive, seed_all
from wingbeat.errors import RequestError
from wingbeat.params import trainable
from wingbeat.replicas.idle import notice_idle
from wingbeat.replicas.trial import try_optimizer
from wingbeat.task.batches import Streams
from wingbeat.task.data import Collated, is_tensors
from wingbeat.task.hidden_state import HiddenState, TheirData

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.task.batches import Batches
    from wingbeat.task.step import TrainingStep
    from wingbeat.typing import Buffers


def first_loss(step: TrainingStep, batches: Batches) -> float:
    """Return the reference's loss on its first batch, by the plain step.

    Raises:
        RequestError: it is not finite, the loss is not a scalar, or the optimizer's object cannot
            serve several replicas.
    """
    try:
        loss = _tried(step, batches)
    except (RuntimeError, NotImplementedError) as error:
        line = str(error).strip().partition("\n")[0]
        step.use_objects(f"torch.func cannot differentiate the model: {line}")
        loss = _tried_alone(step, batches)
    notice_idle(step, batches)
    if step.optimizer is None:
        try_optimizer(step, batches)
    found = _of_the_data(step, batches)
    batches.remembers = tuple(dict.fromkeys((*batches.remembers, *found)))
    if not torch.isfinite(loss):
        msg = (
            f"the loss of the first batch is {float(loss)} before any update: check the data "
            "for NaN, the model's initialisation and the loss function"
        )
        raise RequestError(msg)
    return float(loss)


def _of_the_data(step: TrainingStep, batches: Batches) -> tuple[str, ...]:
    """Name what the data set or the augmentation change when a batch is asked for."""
    task, data = step.task, step.task.data
    data = data.samples if isinstance(data, Collated) else data
    fetch = None if is_tensors(data) else getattr(data, "__getitem__", None)
    source = task.batches if callable(task.batches) else None
    made_by = [task.augment, fetch, task.collate, source]
    kept = [HiddenState(TheirData(f), nn.Identity()) for f in made_by if f is not None]
    before = [hidden.look() for hidden in kept]
    if not kept:
        return ()
    batches.anew(Streams.of(step.task.seed), 0)
    pairs = zip(kept, before, strict=True)
    names = tuple(dict.fromkeys(name for hidden, then in pairs for name in hidden.changed(then)))
    for hidden, then in zip(kept, before, strict=True):
        hidden.restore(then)
    return names


def _tried_alone(step: TrainingStep, batches: Batches) -> Tensor:
    """Return the first loss by a backward pass through the module itself."""
    try:
        return _tried(step, batches)
    except RuntimeError as error:
        if "does not require grad" not in str(error):
            raise
        msg = (
            "no gradient reaches what Task.loss returned: it is detached, depends on no trainable "
            "parameter, or has had its backward pass. Return the loss itself; backward is called "
            "for you"
        )
        raise RequestError(msg) from error


def _check_settled(step: TrainingStep, names: set[str], before: Buffers, after: Buffers) -> None:
    """Refuse a model whose first step changes which parameters train, or a buffer's shape."""
    if moved := sorted(names ^ set(trainable(step.shell))):
        raise RequestError(
            f"a step changes whether {moved[0]!r} requires a gradient: a task trains the same "
            "parameters from its first update to its last. A training that unfreezes some later "
            "keeps its own loop with wb.Twins"
        )
    other = [name for name, b in before.items() if after[name].shape != b.shape]
    if other:
        was, now = (tuple(held[other[0]].shape) for held in (before, after))
        raise RequestError(
            f"the first batch changes the shape of the buffer {other[0]!r} from {was} to {now}: "
            "call the model once on a batch within the function that Task.model is"
        )


def _tried(step: TrainingStep, batches: Batches) -> Tensor:
    """Return the first loss, and leave what the task's functions remember as it was."""
    streams = Streams.of(step.task.seed)
    state = step.start(step.task.seed)
    batch = batches.batch(streams, 0)
    hidden = HiddenState(step.task, step.skeleton)
    before, names = hidden.look(), set(trainable(step.shell))

    def rehearse() -> Tensor:
        """Make a first step without its update; returns the loss."""
        seed_all(derive(streams.dropout, batches.first))
        number = step.number(0) if step.task.counts else None
        _, loss, buffers = step.gradient(state.params, state.buffers, batch, number)
        if step.task.after_step is not None:  # it may remember something too
            step.put(state.params, state.buffers)
            step.after_update(0)
        _check_settled(step, names, state.buffers, buffers)
        return loss

    try:
        loss = rehearse()
        step.remembers = tuple(dict.fromkeys(hidden.changed(before)))
        if step.remembers:  # it holds a model's weights, which nobody else asks for
            step.rehearse = rehearse
    finally:
        hidden.restore(before)
    return loss
