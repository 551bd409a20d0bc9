"""One batch's loss and gradient in the model itself, as the closure of an optimizer sees it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch

from wingbeat.generators import GeneratorStates
from wingbeat.params import fixed, trainable
from wingbeat.typing import Buffers

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.task.data import Batch
    from wingbeat.task.step import TrainingStep


class Evaluation:
    """The gradient of one step, computed once before the optimizer's step, and again on demand.

    Training loops either call ``backward`` and then ``step()``, or hand the optimizer a closure.
    Both work: the gradient is there before the step, and the closure gives it back as long as
    nothing has changed; after the optimizer has moved the weights it is computed anew, under the
    same noise. An optimizer that ignores the closure, or takes none, therefore works too. Gradients
    that are changed before the weights are (clipped by a hook or a wrapper around ``step``) stay as
    they are if the closure is optional, as after a ``step()`` without one.

    Args:
        step: the task's step, whose model holds the replica.
        optimizer: whose gradients are reset.
        buffers: the model's buffers before the step.
        batch: the batch.
        index: of the step.
        scaler: of the replica's gradients, if it has one; no closure then.

    Attributes:
        passed: whether the optimizer's ``step`` takes a closure.
        failed: whether the loss or its gradient, not the optimizer, is what failed.
    """

    def __init__(
        self,
        step: TrainingStep,
        optimizer: Any,
        buffers: Buffers,
        batch: Batch,
        index: int,
        scaler: Any = None,
    ) -> None:
        self.step, self.optimizer, self.batch, self.buffers = step, optimizer, batch, buffers
        self.number = step.number(index) if step.task.counts else None
        self.scaler = scaler
        self.named = trainable(step.skeleton)
        self.passed = takes_closure(optimizer) and scaler is None
        self.optional = not needs_closure(optimizer)
        self.rng = GeneratorStates.now()
        self.failed = False
        self._loss: Tensor | None = None
        self._before: list[Any] = []
        self._marks: list[Any] = []

    def __call__(self) -> Tensor:
        """Compute loss and gradient; returns the loss."""
        self._before = [p._version for p in self.named.values()]
        self._loss = self._computed()
        self._marks = self._marked()
        return self._loss

    def again(self) -> Tensor:
        """Return the loss and leave its gradient, as a closure does."""
        assert self._loss is not None
        if self._marked() == self._marks:
            return self._loss
        if [p._version for p in self.named.values()] == self._before:
            if self.optional and self._changed():
                return self._loss
            with torch.no_grad():  # only the gradients were reset: a closure's first call
                for name, buffer in fixed(self.step.skeleton).items():
                    buffer.copy_(self.buffers[name])
        return self._computed()

    def _marked(self) -> list[Any]:
        """Return what changes when weights or gradients do."""
        own = self.named.values()
        grads = [(id(p.grad), None if p.grad is None else p.grad._version) for p in own]
        return [[p._version for p in own], grads]

    def _changed(self) -> bool:
        """Tell whether gradients that are not those given were left, and not reset."""
        return any(p.grad is not None and bool(p.grad.any()) for p in self.named.values())

    def _computed(self) -> Tensor:
        self.failed = True
        loss = self._differentiated()
        self.failed = False
        return loss

    def _differentiated(self) -> Tensor:
        self.rng.put_back()  # an optimizer that evaluates twice sees one noise
        task = self.step.task
        with torch.enable_grad():  # some call the closure under no_grad
            for parameter in self.named.values():
                parameter.grad = None
            scale = None if self.scaler is None else self.scaler.scale
            loss = self.step.backward(self.batch, self.number, scale)
            if self.scaler is not None:
                self.scaler.unscale_(self.optimizer)
            if task.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(self.named.values(), task.clip_norm)
        return loss


def takes_closure(optimizer: Any) -> bool:
    """Tell whether an optimizer's ``step`` can be called with a closure.

    >>> takes_closure(torch.optim.SGD([torch.zeros(1)]))
    True
    """
    own = _arguments(optimizer)
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = any(p.name == "closure" or p.kind == p.VAR_POSITIONAL for p in own)
    return named or (bool(own) and own[0].kind in kinds and own[0].default is own[0].empty)


def needs_closure(optimizer: Any) -> bool:
    """Tell whether an optimizer's ``step`` cannot be called without a closure.

    >>> needs_closure(torch.optim.LBFGS([torch.zeros(1)]))
    True
    """
    return any(p.name == "closure" and p.default is p.empty for p in _arguments(optimizer))


def _arguments(optimizer: Any) -> list[inspect.Parameter]:
    # torch wraps ``step`` for its profiler; the signature is that of the function within.
    try:
        parameters = inspect.signature(inspect.unwrap(type(optimizer).step)).parameters
    except (TypeError, ValueError):  # a builtin without a signature
        return []
    return list(parameters.values())[1:]
