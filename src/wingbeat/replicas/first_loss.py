"""The loss before any update: is there anything to train, and what does a step remember?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from wingbeat.determinism import derive, seed_all
from wingbeat.errors import RequestError
from wingbeat.replicas.idle import notice_idle
from wingbeat.replicas.trial import try_optimizer
from wingbeat.task.batches import Streams
from wingbeat.task.data import Collated, is_tensors
from wingbeat.task.hidden_state import HiddenState, TheirData

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.task.batches import Batches
    from wingbeat.task.step import TrainingStep


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
        loss = _tried(step, batches)
    notice_idle(step, batches)
    if step.optimizer is None:
        try_optimizer(step, batches)
    batches.remembers = _of_the_data(step, batches)
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


def _tried(step: TrainingStep, batches: Batches) -> Tensor:
    """Return the first loss, and leave what the task's functions remember as it was."""
    streams = Streams.of(step.task.seed)
    state = step.start(step.task.seed)
    batch = batches.batch(streams, 0)
    hidden = HiddenState(step.task, step.skeleton)
    before = hidden.look()

    def rehearse() -> Tensor:
        """Make a first step without its update; returns the loss."""
        seed_all(derive(streams.dropout, batches.first))
        number = step.number(0) if step.task.counts else None
        loss = step.gradient(state.params, state.buffers, batch, number)[1]
        if step.task.after_step is not None:  # it may remember something too
            step.put(state.params, state.buffers)
            step.after_update(0)
        return loss

    try:
        loss = rehearse()
        step.remembers = tuple(dict.fromkeys(hidden.changed(before)))
        if step.remembers:  # it holds a model's weights, which nobody else asks for
            step.rehearse = rehearse
    finally:
        hidden.restore(before)
    return loss
