"""Does a task's loss depend on which samples share a batch, and is it a mean over them at all?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from wingbeat.errors import RequestError
from wingbeat.task.batches import eval_batches, placer
from wingbeat.task.data import len_of
from wingbeat.task.predictions import loss_and_scores

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from wingbeat.task.data import Batch
    from wingbeat.task.step import TrainingStep

_CLOSE = 1e-3
"""Relative difference below which two losses are equal: float32 sums round by much less."""
_SUMS_GROW = 1.9
"""How much more a sum grows from two to four copies of a batch than from one to two: at least
twice, also where the others in the batch count. A mean does not, or a contrastive one by ln 2."""


def depends_on_batch(step: TrainingStep, data: Any) -> bool:
    """Tell whether the loss of a batch is something else than the mean over its samples.

    Contrastive losses are, and means over tokens of batches with padding. The untrained model is
    asked for the loss of a batch, of its halves, and of the batch beside one and three copies of
    itself.

    Args:
        step: of the task; its model is evaluated once for each of five batches.
        data: as ``Task.data``.

    Raises:
        RequestError: the loss grows with copies of the batch as a sum does; its average over
            batches of unequal size would mean nothing.
    """
    half = min(step.task.batch_size, len_of(data)) // 2
    if half < 1:
        return False
    start = step.start(step.task.seed)
    place = placer(step.dtype, step.device)
    (one, _), (two, _) = list(eval_batches(_first(data, 2 * half), half, place))[:2]

    def loss(batch: Batch) -> float:
        """Return the loss of the untrained model on a batch."""

        def measured(model: nn.Module, given: Batch) -> dict[str, Tensor]:
            return {"loss": loss_and_scores(step.task, model, given)[0]}

        found: Callable[..., Any] = step.evaluate
        with torch.no_grad():
            return float(found(measured, start.params, start.buffers, batch)["loss"])

    both = _joined(one, two)
    twice = _joined(both, both)
    whole, halves = loss(both), (loss(one) + loss(two)) / 2
    doubled, fourfold = loss(twice), loss(_joined(twice, twice))
    scale = abs(whole) + abs(halves)
    growth, further = doubled - whole, fourfold - doubled
    if abs(growth) > _CLOSE * scale and further / growth >= _SUMS_GROW:
        raise RequestError(
            f"the loss of a batch is {whole:.4g}, beside a copy of itself {doubled:.4g} and beside "
            f"three {fourfold:.4g}: it is a sum over samples (reduction='sum'), which has no value "
            "for a set of data; use the mean, and multiply the learning rate by the batch size"
        )
    return abs(whole - halves) > _CLOSE * scale


def _first(data: Any, count: int) -> Any:
    if isinstance(data, (tuple, dict)):
        return pytree.tree_map(lambda t: t[:count], data)
    return torch.utils.data.Subset(data, range(count))


def _joined(a: Batch, b: Batch) -> Batch:
    return pytree.tree_map(
        lambda x, y: torch.cat([x, y]) if isinstance(x, torch.Tensor) and x.dim() else x, a, b
    )
