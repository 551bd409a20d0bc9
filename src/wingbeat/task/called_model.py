"""The model that is called with the tensors of replicas: it needs no weights of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from wingbeat.heap import give_back
from wingbeat.params import fixed, trainable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from wingbeat.task.build import ModelBuilder


class CalledModel:
    """A model of a task, whose own weights can be put away while nobody reads them.

    Args:
        models: of the task.
        seed: of the weights that it has at first, and again once somebody asks for them.

    Attributes:
        shell: the module, with weights of its own or without.
        away: whether it is without.
    """

    def __init__(self, models: ModelBuilder, seed: int) -> None:
        self.models, self.seed = models, seed
        self.shell, self.away = models.fresh(seed), False

    def with_weights(self) -> nn.Module:
        """Return the module with weights: a start's, if its own were put away."""
        if self.away:
            kept = self.models.keeps
            start = trainable(self.models.initial(self.seed))
            self.put({name: p.detach() for name, p in start.items()}, fixed(self.shell))
            if not kept:
                self.models.let_go()
        return self.shell

    def put_away(self) -> None:
        """Free the module's own weights, unless it may be the user's."""
        if self.away or not self.models.copies:
            return
        for parameter in trainable(self.shell).values():
            parameter.data = parameter.data.new_empty(0)
        self.away = True
        give_back()

    def put(self, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> None:
        """Write weights and buffers into the module."""
        own = trainable(self.shell)
        with torch.no_grad():
            for name, value in weights.items():
                if self.away:
                    own[name].data = torch.empty_like(value, memory_format=torch.contiguous_format)
                own[name].copy_(value)
            for name, buffer in fixed(self.shell).items():
                buffer.copy_(buffers[name])
        self.away = False
