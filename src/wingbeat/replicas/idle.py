"""Parameters that the loss does not depend on: torch leaves them alone, and so must the pure step.

Their gradient is None, and an optimizer skips them; to the pure step it is a vector of zeros,
by which weight decay, momentum and the moments' decay would move them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from wingbeat.determinism import derive, seed_all
from wingbeat.errors import RequestError
from wingbeat.params import trainable
from wingbeat.task.batches import Streams, copied
from wingbeat.task.hidden_state import HiddenState
from wingbeat.task.precision import autocast

if TYPE_CHECKING:
    from wingbeat.task.batches import Batches
    from wingbeat.task.optimizers import PureOptimizer
    from wingbeat.task.step import TrainingStep


def notice_idle(step: TrainingStep, batches: Batches) -> None:
    """Tell the pure step which parameters to leave alone.

    One look is enough: a step whose graph differs between batches takes its branches in Python,
    is not recorded for that reason, and runs on the model and the optimizer themselves.

    Raises:
        RequestError: the loss depends on no parameter at all.
    """
    if step.optimizer is None or _does_not_matter(step.optimizer):
        return
    idle = _idle_at(step, batches, 0)
    if idle:
        step.leave_alone(sorted(idle))


def _does_not_matter(rule: PureOptimizer) -> bool:
    """Tell a rule that a gradient of zero neither moves nor ages."""
    return all(one.rests_at_zero() for one in rule.rules())


def _idle_at(step: TrainingStep, batches: Batches, index: int) -> set[str]:
    """Return the parameters without a gradient at one step, from a backward pass by hand."""
    streams, start = Streams.of(step.task.seed), step.start(step.task.seed)
    batch = copied(batches.batch(streams, index))
    hidden = HiddenState(step.task, step.skeleton)
    before = hidden.look()
    step.put(start.params, start.buffers)
    own = trainable(step.skeleton)
    seed_all(derive(streams.dropout, index))
    try:
        with torch.enable_grad():
            number = step.number(index)
            with autocast(step.task.precision, step.device):
                given = [step.arguments(part, number) for part in step.parts(batch)]
                losses = [step.task.loss(step.skeleton, *one) for one in given]
            loss = sum(losses[1:], start=losses[0])
            if not loss.requires_grad:
                msg = "the loss depends on no trainable parameter: there is nothing to train"
                raise RequestError(msg)
            found = torch.autograd.grad(loss, list(own.values()), allow_unused=True)
    finally:
        hidden.restore(before)
    return {name for name, grad in zip(own, found, strict=True) if grad is None}
