"""Parameters that the loss does not depend on: torch leaves them alone, and so must the pure step.

Their gradient is None, and an optimizer skips them; to the pure step it is a vector of zeros,
by which weight decay, momentum and the moments' decay would move them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from wingbeat.determinism import derive, seed_all
from wingbeat.params import trainable
from wingbeat.task.batches import Streams, copied
from wingbeat.task.hidden_state import HiddenState
from wingbeat.task.optimizers import Grouped, Sgd

if TYPE_CHECKING:
    from wingbeat.task.batches import Batches
    from wingbeat.task.optimizers import PureOptimizer
    from wingbeat.task.step import TrainingStep

PROBES = 6
"""Steps that are looked at. A branch taken with probability 1/2 is missed with one in 32."""


def notice_idle(step: TrainingStep, batches: Batches) -> None:
    """Tell the step which parameters to leave alone, or that only objects can.

    Those that are idle at every probe stay as they are wherever their gradient is zero; those
    that are idle now and then take other numbers of steps, which only the object counts.
    """
    if step.optimizer is None or _does_not_matter(step.optimizer):
        return
    seen = [_idle_at(step, batches, index) for index in range(min(PROBES, step.task.steps))]
    always = set.intersection(*seen)
    now_and_then = sorted(set.union(*seen) - always)
    if now_and_then:
        step.use_objects(
            f"the loss depends on {now_and_then[0]!r} in some steps only, and torch's optimizers "
            "count the steps of each parameter"
        )
    elif always:
        step.leave_alone(sorted(always))


def _does_not_matter(rule: PureOptimizer) -> bool:
    """Tell a rule that a gradient of zero neither moves nor ages."""
    rules = [g.rule for g in rule.groups] if isinstance(rule, Grouped) else [rule]
    return all(isinstance(r, Sgd) and not r.momentum and not r.weight_decay for r in rules)


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
            loss = step.task.loss(step.skeleton, batch)
            found = torch.autograd.grad(loss, list(own.values()), allow_unused=True)
    finally:
        hidden.restore(before)
    return {name for name, grad in zip(own, found, strict=True) if grad is None}
