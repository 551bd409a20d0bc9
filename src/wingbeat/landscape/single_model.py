"""One weight vector at a time in a module of its own, for models that are not stacked."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from wingbeat.task.batches import copied

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.task.step import TrainingStep
    from wingbeat.task.task import Batch


def private(batch: Batch) -> Batch:
    """Return a batch that a model may change in place; the usual tuple is copied fastest."""
    if type(batch) is tuple and all(type(t) is torch.Tensor for t in batch):
        return tuple(t.clone() for t in batch)
    return copied(batch)


class SingleModel:
    """A module that takes the place of one row of a stack of weight vectors.

    Writing the weights in once for all batches takes less time than a functional call for each.

    Args:
        step: gives the architecture.

    Attributes:
        model: the module, in eval mode and without gradients.
    """

    def __init__(self, step: TrainingStep) -> None:
        self.layout = step.layout
        self.model = copy.deepcopy(step.skeleton).eval().requires_grad_(requires_grad=False)
        named = (*self.model.named_parameters(), *self.model.named_buffers())
        self._tensors: dict[str, Tensor] = dict(named)
        self._held: tuple[Tensor | None, tuple[Tensor, ...], int] = (None, (), -1)

    def put(self, params: Tensor, buffers: dict[str, Tensor], row: int) -> None:
        """Write row ``row`` of stacked weights (k, P) and buffers into the module.

        Nothing is done if it is there already, by the identity of the tensors: they must not be
        changed in place between two calls.
        """
        held, others, place = self._held
        given = tuple(buffers.values())
        same = len(given) == len(others) and all(a is b for a, b in zip(given, others, strict=True))
        if held is params and same and place == row:
            return
        own = {name: stack[row] for name, stack in buffers.items()}
        with torch.no_grad():
            for name, value in {**self.layout.unflatten(params[row]), **own}.items():
                self._tensors[name].copy_(value)
        self._held = (params, given, row)
