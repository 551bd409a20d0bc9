"""The loop driver: one replica after another. It is the reference implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from wingbeat.errors import RequestError, RunError
from wingbeat.params import fixed, trainable
from wingbeat.replicas.belongings import Belongings
from wingbeat.replicas.evaluation import Evaluation, needs_closure
from wingbeat.replicas.flags import Flags
from wingbeat.task.last_derivative import last_derivative
from wingbeat.task.precision import Scaler, is_scaler
from wingbeat.task.step import State, TrainingStep

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.task.data import Batch


class Loop:
    """Advance replicas one at a time with the pure step."""

    name = "loop"
    mode = "eager"

    def __init__(self, step: TrainingStep) -> None:
        step.renew()
        self.step = step

    @torch.no_grad()  # a second network in the loss may ask for gradients: none outlives its step
    def __call__(self, state: State, batch: Batch, index: int) -> tuple[State, Tensor]:
        """Advance a stack of one replica; ``state`` tensors have a leading axis of 1."""
        one = state.map(lambda t: t[0])
        with last_derivative():
            after, loss = self.step(one, batch, self.step.numbers(one, index))
        return after.map(lambda t: t.unsqueeze(0)), loss.unsqueeze(0)


class ObjectLoop:
    """Advance replicas one at a time with the task's own optimizer object.

    For optimizers that have no pure form here. All that the object holds travels in
    ``State.slots`` between steps, so that a replica is its state and nothing else, as everywhere.
    """

    name = "loop"
    mode = "object"

    def __init__(self, step: TrainingStep) -> None:
        step.renew()
        self.step = step
        self.model, self.optimizer = step.skeleton, step.owner
        self.named = trainable(self.model)
        # Without a schedule the rate is the optimizer's own to change, as with Adafactor.
        scheduled = {name for row in step.options(0) for name in row}
        self.belongings = Belongings(self.optimizer, self.model, frozenset(scheduled))
        self.first = {k: t.clone() for k, t in self.belongings.gather().items()}
        self.scaler = self._scaler()
        self.flags = Flags(self.model)
        self._flags: dict[str, Tensor] = {}

    def _scaler(self) -> Scaler | None:
        if self.step.task.precision != "fp16":
            return None
        if needs_closure(self.optimizer):
            msg = (
                f"{type(self.optimizer).__name__} asks for the loss again within its step, which a "
                "gradient scaler cannot serve: use precision='bf16', or another optimizer"
            )
            raise RequestError(msg)
        return Scaler(self.step.device, self.step.task.scaler)

    def __call__(self, state: State, batch: Batch, index: int) -> tuple[State, Tensor]:
        """Advance a stack of one replica; ``state`` tensors have a leading axis of 1."""
        loss = self._stepped(state, batch, index)
        params = self.step.layout.flatten({n: p.detach() for n, p in self.named.items()})
        buffers = {n: b.detach().clone().unsqueeze(0) for n, b in fixed(self.model).items()}
        return State(params.unsqueeze(0), buffers, self._slots()), loss

    def use_up(self, state: State, batch: Batch, index: int) -> tuple[State, Tensor]:
        """Advance likewise, with the state's own tensors for weights and for what is held."""
        own = [name for name in state.slots if not is_scaler(name)]
        if not any("|" in name for name in own):  # those of a start: this object has its own
            for name in own:
                del state.slots[name]
        loss = self._stepped(state, batch, index, given=True)
        for name, place in self.step.layout.unflatten(state.params[0]).items():
            place.copy_(self.named[name].detach())
        buffers = {n: b.detach().clone().unsqueeze(0) for n, b in fixed(self.model).items()}
        return State(state.params, buffers, self._slots()), loss

    def release(self) -> None:
        """Let the optimizer hold what it began with, not what it made of its last replica."""
        self.flags.put({})
        self.belongings.put_back(self.first)

    def _stepped(self, state: State, batch: Batch, index: int, *, given: bool = False) -> Tensor:
        """Make the model and the optimizer the replica after its step; returns the loss."""
        self._put(state, index, given)
        buffers = {name: b[0] for name, b in state.buffers.items()}
        scaler = None if self.scaler is None else self.scaler.scaler
        evaluation = Evaluation(self.step, self.optimizer, buffers, batch, index, scaler)
        loss = evaluation()
        self._move(evaluation)
        self.step.after_update(index)
        for parameter in self.model.parameters():
            parameter.grad = None  # the next step makes its own
        self._flags = self.flags.take()
        self.flags.put({})  # whoever reads the replica finds its tensors where they were
        return loss.detach().reshape(1)

    def _move(self, evaluation: Evaluation) -> None:
        """Let the optimizer take its step; what the loss says within it stays the loss's word."""
        try:
            with torch.enable_grad():
                if evaluation.scaler is not None:
                    evaluation.scaler.step(self.optimizer)
                    evaluation.scaler.update()
                    return
                closures: list[Any] = [evaluation.again] if evaluation.passed else []
                self.optimizer.step(*closures)
        except Exception as error:
            if evaluation.failed:
                raise
            kind = type(self.optimizer).__name__
            msg = f"{kind}.step fails: {type(error).__name__}: {error}"
            raise RunError(msg) from error

    def _put(self, state: State, index: int, given: bool) -> None:
        self.flags.put({})
        self.step.put(state.params[0], {k: b[0] for k, b in state.buffers.items()})
        # Slots of a pure form are those of a start, which this object was handed over with.
        slots = {k: t[0] for k, t in state.slots.items() if not is_scaler(k)}
        held = slots if any("|" in name for name in slots) else self.first
        if self.scaler is not None:
            self.scaler.put({k: t[0] for k, t in state.slots.items()})
        self.belongings.put_back(held, given=given and held is slots)
        self.flags.put(slots)
        options = self.step.options(index)
        for group, row in zip(getattr(self.optimizer, "param_groups", []), options, strict=True):
            group.update(row)

    def _slots(self) -> dict[str, Tensor]:
        scaler = {} if self.scaler is None else self.scaler.take()
        own = self.belongings.gather() | scaler | self._flags
        return {k: t.unsqueeze(0) for k, t in own.items()}
