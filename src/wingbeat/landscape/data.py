"""Which samples a landscape is evaluated on, and in which batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree
from torch.utils.data import Subset

from wingbeat.errors import RequestError
from wingbeat.task.batches import eval_batches, placer
from wingbeat.task.data import is_tensors, len_of

if TYPE_CHECKING:
    from wingbeat.task.data import Batch
    from wingbeat.task.step import TrainingStep

BATCHES = 20
"""Batches that data are cut into at least: they carry the error bar."""


@dataclass(frozen=True)
class Portions:
    """Data as placed batches, with the number of samples in each."""

    batches: tuple[Batch, ...]
    sizes: tuple[int, ...]

    @property
    def whole(self) -> Batch:
        """All samples as one batch."""
        if len(self.batches) == 1:
            return self.batches[0]
        return pytree.tree_map(
            lambda *t: torch.cat(t) if isinstance(t[0], torch.Tensor) else t[0],
            self.batches[0],
            *self.batches[1:],
        )


def portions(
    step: TrainingStep, data: Any, *, samples: int | None = None, batch_size: int | None = None
) -> Portions:
    """Return data in batches, in order and without augmentation.

    Args:
        step: says on which device and in which type.
        data: as ``Task.data``.
        samples: most samples to use, evenly spaced over the data; None for all.
        batch_size: samples a batch; None for ``Task.eval_batch_size``, or less where that would
            make fewer than 20 batches.

    Raises:
        RequestError: no sample, or data smaller than one batch.
    """
    for name, value in (("samples", samples), ("batch_size", batch_size)):
        if value is not None and not (isinstance(value, int) and value >= 1):
            raise RequestError(f"{name} is {value!r}: use a whole number of at least 1, or None")
    kept = select_samples(data, samples)
    count = len_of(kept)
    if batch_size is not None and batch_size > count:
        raise RequestError(
            f"batch_size {batch_size} is larger than the evaluation data ({count} samples): use "
            f"at most {max(1, count // 3)}, since an error bar over batches needs three of them"
        )
    size = batch_size or min(step.task.eval_batch_size, -(-count // BATCHES))
    made = list(eval_batches(kept, size, placer(step.dtype, step.device)))
    return Portions(tuple(b for b, _ in made), tuple(n for _, n in made))


def select_samples(data: Any, samples: int | None) -> Any:
    """Return at most ``samples`` of the data, evenly spaced, the first always among them.

    >>> select_samples((torch.arange(10),), 4)
    (tensor([0, 2, 5, 7]),)
    """
    count = len_of(data)
    if count == 0:
        raise RequestError("the evaluation data are empty: give at least one sample")
    if samples is None or samples >= count:
        return data
    places = torch.arange(samples) * count // samples
    if is_tensors(data):
        return pytree.tree_map(lambda t: t[places.to(t.device)], data)
    return Subset(data, places.tolist())
