"""The loop driver of a task, one replica after another, each with its own hidden state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wingbeat.replicas.drivers.loop import Loop, ObjectLoop
from wingbeat.replicas.drivers.registry import driver
from wingbeat.task.hidden_state import HiddenState, is_hidden
from wingbeat.task.step import State, TrainingStep

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from wingbeat.task.data import Batch


LOOP: Final = "loop"
"""Name of the driver that every other one is held to."""


def alone(step: TrainingStep) -> ObjectLoop | Remembering:
    """Return the driver that advances a task's replicas one at a time.

    It calls the model and the optimizer themselves, as a loop written by hand does: hooks fire,
    and a parameter that the loss did not reach is left alone rather than decayed.
    """
    inner = ObjectLoop(step)
    return Remembering(inner, step.remembers) if step.remembers else inner


class Remembering:
    """Put a replica's own hidden state in place before each of its steps.

    Args:
        inner: the loop driver that takes the steps.
        names: what changes; see ``HiddenState.changed``.
    """

    name = "loop"

    def __init__(self, inner: ObjectLoop, names: tuple[str, ...]) -> None:
        self.inner, self.mode = inner, inner.mode
        self.hidden = HiddenState(inner.step.task, inner.step.skeleton)
        before = self.hidden.look()
        inner.step.rehearse()  # what a step makes is seen once: a resumed run must know its kind
        self.hidden.carry(names)
        self.hidden.restore(before)
        self.first = self.hidden.take()

    def __call__(self, state: State, batch: Batch, index: int) -> tuple[State, Tensor]:
        """Advance a stack of one replica; its hidden state travels among the slots."""
        return self._stepped(state, batch, index, self.inner)

    def use_up(self, state: State, batch: Batch, index: int) -> tuple[State, Tensor]:
        """Advance likewise, and use up the state."""
        return self._stepped(state, batch, index, self.inner.use_up)

    def _stepped(
        self, state: State, batch: Batch, index: int, inner: Callable[..., tuple[State, Tensor]]
    ) -> tuple[State, Tensor]:
        own = {k: t[0] for k, t in state.slots.items() if is_hidden(k)}
        self.hidden.put(own or self.first)
        slots = {k: t for k, t in state.slots.items() if not is_hidden(k)}
        after, loss = inner(State(state.params, state.buffers, slots), batch, index)
        kept = {k: t.unsqueeze(0) for k, t in self.hidden.take().items()}
        return State(after.params, after.buffers, {**after.slots, **kept}), loss

    def release(self) -> None:
        """Leave the user's objects as they were before the run."""
        self.hidden.put(self.first)


@driver(LOOP, modes=("object", "eager"), caption="One replica after another.", stacks=False)
def make_loop(step: TrainingStep, mode: str) -> Loop | ObjectLoop | Remembering:
    """Return the loop driver; "eager" goes on with runs that were begun on the pure step."""
    return Loop(step) if mode == "eager" else alone(step)
