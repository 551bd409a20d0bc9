"""What products need of a Hessian: a loss on stated samples, a chunk at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from wingbeat.params import Layout
    from wingbeat.task.step import TrainingStep
    from wingbeat.task.task import Batch

    Slope = Callable[[Tensor, dict[str, Tensor]], tuple[Tensor, Tensor]]


class SampledLoss(Protocol):
    """A task's loss on stated samples; `wingbeat.curvature.hvp.Hessian` is one."""

    step: TrainingStep
    layout: Layout
    batch_size: int | None

    @property
    def indices(self) -> Sequence[int]:
        """Return which samples."""

    @property
    def mode(self) -> str:
        """Return "train" or "eval"."""

    def parts(self) -> Iterator[tuple[Batch, float, Any]]:
        """Yield chunks with their share and the surroundings in which to compute on them."""

    def slope(self, batch: Batch) -> Slope:
        """Return the function from one point to gradient and loss of a chunk."""
