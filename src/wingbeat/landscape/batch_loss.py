"""Does a task's loss depend on which samples share a batch, and is it a mean over them at all?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from wingbeat.errors import RequestError
from wingbeat.task.batches import eval_batches, len_of, placer
from wingbeat.task.predictions import loss_and_scores

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from wingbeat.task.step import TrainingStep
    from wingbeat.task.task import Batch

_CLOSE = 1e-3
"""Relative difference below which two losses are equal: float32 sums round by much less."""


def depends_on_batch(step: TrainingStep, data: Any) -> bool:
    """Tell whether the loss of a batch is something else than the mean over its samples.

    Contrastive losses are, and means over tokens of batches with padding. The untrained model is
    asked for the loss of a batch, of its halves, and of the batch beside a copy of itself.

    Args:
        step: of the task; its model is evaluated once for each of four batches.
        data: as ``Task.data``.

    Raises:
        RequestError: the loss of a batch and its copy is twice that of the batch: it is a sum, and
            its average over batches of unequal size would mean nothing.
    """
    half = min(step.task.batch_size, len_of(data)) // 2
    if half < 1:
        return False
    start = step.start(step.task.seed)
    place = placer(step.dtype, step.device)
    (one, _), (two, _) = list(eval_batches(_first(data, 2 * half), half, place))[:2]

    def loss(batch: Batch) -> float:
        def measured(model: nn.Module, given: Batch) -> dict[str, Tensor]:
            return {"loss": loss_and_scores(step.task, model, given)[0]}

        found: Callable[..., Any] = step.evaluate
        with torch.no_grad():
            return float(found(measured, start.params, start.buffers, batch)["loss"])

    both = _joined(one, two)
    whole, doubled, halves = loss(both), loss(_joined(both, both)), (loss(one) + loss(two)) / 2
    scale = abs(whole) + abs(halves)
    if scale > 0 and abs(doubled - 2 * whole) <= _CLOSE * scale and abs(whole) > _CLOSE * scale:
        raise RequestError(
            f"the loss of a batch is {whole:.4g} and that of the batch with a copy of itself "
            f"{doubled:.4g}, twice as much: it is a sum over samples (reduction='sum'), which has "
            "no value for a set of data; use the mean, and multiply the learning rate by the "
            "batch size"
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
