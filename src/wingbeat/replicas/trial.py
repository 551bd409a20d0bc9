"""A trial of an optimizer object before anything is computed: can one object serve replicas?

Two replicas take a few steps in turn, and the first takes the same steps alone. Where the bits
differ, something that belongs to a replica stays behind in the object or beside it, and each
replica would train on what the others left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from wingbeat.determinism import derive, seed_all
from wingbeat.errors import RequestError, RunError
from wingbeat.replicas.drivers.object_loop import alone
from wingbeat.task.batches import Streams
from wingbeat.task.build import why_objects

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.task.batches import Batches
    from wingbeat.task.step import State, TrainingStep

STEPS = 3
"""Of each replica: what the first step makes, the second reads, and what that leaves, the third."""


def try_optimizer(step: TrainingStep, batches: Batches) -> None:
    """Take a few steps with a task's own optimizer object.

    Raises:
        RequestError: the optimizer fails, or keeps something that cannot be a replica's own.
    """
    try:
        together = _run(step, batches, others=True)
        single = _run(step, batches, others=False)
    except RunError as error:
        msg = f"in a trial before training: {error}{_advice(step.owner)}"
        raise RequestError(msg) from error
    finally:
        step.renew()
    # torch's own keep all in their state; what differs then is the model's, and is warned of.
    own = type(step.owner).__module__.startswith("torch.optim")
    if not _same(together, single) and (not own or why_objects(step.skeleton)):
        raise RequestError(_sentence(step))


def _advice(optimizer: Any) -> str:
    """Return what to write for an optimizer that has a mode, as schedule-free ones do."""
    if not callable(getattr(optimizer, "train", None)):
        return ""
    return (
        f" Where {type(optimizer).__name__} has to be in train mode, call its train() within the "
        "function that Task.optimizer is"
    )


def _sentence(step: TrainingStep) -> str:
    hook = why_objects(step.skeleton)
    what = f"{type(step.owner).__name__} keeps something"
    if hook:
        what = f"{hook}, and it or {what}"
    return (
        f"{what} between steps that cannot be told apart by replica (in a closure, a global, or an "
        "object of a library): keep it as numbers or tensors in the optimizer's state, its groups "
        "or its attributes"
    )


def _run(step: TrainingStep, batches: Batches, *, others: bool) -> State:
    """Return the state of a replica after a few steps, alone or in turn with another one."""
    driver = alone(step)
    streams = Streams.of(step.task.seed)
    begin = step.start(step.task.seed).map(lambda t: t.unsqueeze(0))
    first, second = begin, begin.map(lambda t: t.clone())
    second = type(begin)(_pushed(begin.params), second.buffers, second.slots)
    try:
        for index in range(min(STEPS, step.task.steps)):
            batch = batches.batch(streams, index)
            if others:
                seed_all(derive(streams.dropout, index))
                second, _ = driver(second, batch, index)
            seed_all(derive(streams.dropout, index))
            first, _ = driver(first, batch, index)
    finally:
        if hasattr(driver, "release"):
            driver.release()
    return first


def _pushed(params: Tensor) -> Tensor:
    """Return weights of another replica: moved by a hundredth of their size."""
    return params * 1.01 + 1e-3


def _same(a: State, b: State) -> bool:
    pairs = [(a.params, b.params), *((a.buffers[k], b.buffers[k]) for k in a.buffers)]
    return all(torch.equal(x.nan_to_num(), y.nan_to_num()) for x, y in pairs)
