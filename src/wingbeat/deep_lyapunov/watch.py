"""Watchers: does a training function rebuild its optimizer, and do copies see the same data?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from wingbeat.task.batch_digest import batch_digest


class OptimizerWatch:
    """Counts the calls of a training function that built an optimizer with something to lose.

    An optimizer loses its moments when it is built anew, and a learning-rate schedule its
    place. Plain SGD at a fixed rate has neither and is not counted.

    >>> watch, weight = OptimizerWatch(), nn.Parameter(torch.ones(1))
    >>> with watch.call():
    ...     optimizer = torch.optim.Adam([weight])
    ...     weight.sum().backward()
    ...     optimizer.step()
    >>> watch.rebuilt
    1
    """

    def __init__(self) -> None:
        self.rebuilt = 0

    @contextlib.contextmanager
    def call(self) -> Iterator[None]:
        """Watch one call of the training function."""
        lost = False
        original = Optimizer.__init__

        def look(optimizer: Optimizer, *_: Any) -> None:
            nonlocal lost
            lost = lost or _has_memory(optimizer)

        def watched(self: Optimizer, *args: Any, **kwargs: Any) -> None:
            original(self, *args, **kwargs)
            # The optimizer is gone when the call returns: look after each step instead.
            self.register_step_post_hook(look)

        Optimizer.__init__ = watched  # type: ignore[method-assign]
        try:
            yield
        finally:
            Optimizer.__init__ = original  # type: ignore[method-assign]
        self.rebuilt += lost


class InputWatch:
    """Fingerprints of everything that a model is called with, in order.

    Two copies that saw the same batches in the same order have equal fingerprints.

    >>> watch, model = InputWatch(), nn.Identity()
    >>> with watch.of(model):
    ...     _ = model(torch.ones(2))
    >>> watch.calls
    1
    """

    def __init__(self) -> None:
        self.calls = 0
        self.fingerprint = 0
        self._handle: Any = None

    @contextlib.contextmanager
    def of(self, model: nn.Module) -> Iterator[None]:
        """Watch a model within a block."""
        self.attach(model)
        try:
            yield
        finally:
            self.detach()

    def attach(self, model: nn.Module) -> None:
        """Watch a model from now on; scripted models cannot be watched."""
        if not isinstance(model, torch.jit.ScriptModule):
            self._handle = model.register_forward_pre_hook(self._see, with_kwargs=True)

    def detach(self) -> None:
        """Watch no longer."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _see(self, model: nn.Module, args: Any, kwargs: Any) -> None:
        if torch.compiler.is_compiling():
            return
        self.calls += 1
        self.fingerprint = batch_digest((args, kwargs), self.fingerprint)


def _has_memory(optimizer: Optimizer) -> bool:
    scheduled = hasattr(optimizer.step, "_wrapped_by_lr_sched")
    kept = (value for state in optimizer.state.values() for value in state.values())
    return scheduled or any(isinstance(value, Tensor) for value in kept)
