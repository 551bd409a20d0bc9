"""Where a training goes on from: what a task needs of ``wb.Start``, which reads checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import nn


@runtime_checkable
class StartingPoint(Protocol):
    """Weights, optimizer state and the number of updates that were made."""

    @property
    def step(self) -> int:
        """Updates made before."""
        ...

    def load_model(self, model: nn.Module) -> None:
        """Put the weights and buffers into a model that was just built."""
        ...

    def load_optimizer(self, optimizer: Any) -> None:
        """Put the state into an optimizer that was just built; its options stay."""
        ...
