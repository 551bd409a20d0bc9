"""Which samples of a task a curvature is about, delivered in chunks with their weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch.utils import _pytree as pytree

from wingbeat.determinism import derive, seeded
from wingbeat.errors import RequestError
from wingbeat.task.batches import placer
from wingbeat.task.data import is_tensors, joined, len_of

if TYPE_CHECKING:
    from wingbeat.task.data import Batch
    from wingbeat.task.task import Task

Samples = int | Sequence[int] | None
"""The first so many samples in the order of the data, these indices, or (None) all."""


def sample_places(task: Task, samples: Samples) -> tuple[int, ...]:
    """Return the indices of a stated subset of a task's training data.

    Args:
        task: whose data.
        samples: the first so many, these indices, or (None) all.

    Raises:
        RequestError: no sample, or an index outside the data.

    Example:
        >>> from wingbeat.tasks.dense import circles_task
        >>> sample_places(circles_task(), 3), sample_places(circles_task(), (5, 2))
        ((0, 1, 2), (5, 2))
    """
    size = len_of(task.data)
    if samples is None:
        return tuple(range(size))
    if isinstance(samples, int):
        if not 1 <= samples <= size:
            raise RequestError(f"samples is {samples}: use a number from 1 to {size}")
        return tuple(range(samples))
    found = tuple(int(i) for i in samples)
    wrong = [i for i in found if not 0 <= i < size]
    if not found or wrong:
        what = f"holds {wrong[0]}" if wrong else "is empty"
        raise RequestError(f"samples {what}: give indices from 0 to {size - 1}")
    return found


def chunks(
    task: Task,
    indices: Sequence[int],
    batch_size: int | None,
    dtype: torch.dtype,
    device: torch.device,
) -> Iterator[tuple[Batch, float]]:
    """Yield batches of the chosen samples with their share of all, without augmentation.

    Args:
        task: whose data.
        indices: of the samples, in the order in which they are delivered.
        batch_size: samples in a chunk; None takes all at once.
        dtype: floating-point data are cast to it.
        device: where the chunks are delivered.
    """
    place, size = placer(dtype, device), batch_size or len(indices)
    for start in range(0, len(indices), size):
        part = list(indices[start : start + size])
        yield place(_collected(task, part)), len(part) / len(indices)


def _collected(task: Task, indices: list[int]) -> Batch:
    if is_tensors(task.data):
        rows = torch.tensor(indices)
        return pytree.tree_map(lambda t: t[rows.to(t.device)], task.data)
    samples = []
    for index in indices:
        with seeded(derive(task.seed, "curvature", index)):
            samples.append(task.data[index])
    return joined(task.data, samples)
