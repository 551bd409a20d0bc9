"""How much memory one model's forward pass takes, measured once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from collections.abc import Callable

    from wingbeat.landscape.models import Models
    from wingbeat.task.step import TrainingStep
    from wingbeat.task.task import Batch

LIVE = 4
"""Tensors of the largest size that are alive at once: input, output and what lies between."""


class _Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the bytes of the largest tensor that an operation makes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in pytree.tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self.bytes = max(self.bytes, leaf.numel() * leaf.element_size())
        return out


def activation_bytes(
    step: TrainingStep, models: Models, function: Callable[..., Any], batch: Batch
) -> int:
    """Return an estimate of the bytes that a forward pass of one model on a batch needs.

    The largest tensor of the pass, four times over; weights are not counted.
    """
    buffers = {name: t[0].to(step.device) for name, t in models.buffers.items()}
    with torch.no_grad(), _Largest() as seen:
        step.evaluate(function, models.params[0].to(step.device), buffers, batch)
    return int(LIVE * seen.bytes)
