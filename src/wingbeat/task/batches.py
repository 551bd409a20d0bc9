"""Batch ``t`` as a pure function of ``(seed, t)``.

Nothing is drawn from a stream: which samples batch ``t`` holds follows from the order
seed and ``t`` alone, and how a sample is augmented from the augmentation seed, the epoch
and the sample's index. Twins therefore agree, and resuming is a counter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils import _pytree as pytree
from torch.utils.data import default_collate

from wingbeat.determinism import derive, seeded
from wingbeat.errors import DriverError, RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from wingbeat.task.task import Batch, Task


@dataclass(frozen=True)
class Streams:
    """The seeds of one replica's noise sources; equal streams see equal noise."""

    order: int
    augmentation: int
    dropout: int

    @classmethod
    def of(cls, seed: int) -> Streams:
        """Return the streams of a base seed."""
        return cls(*(derive(seed, name) for name in ("order", "augmentation", "dropout")))


class Batches:
    """The task's training data on a device, addressed by streams and step.

    Args:
        task: what to train; its ``data`` is a tuple or dict of tensors, or a map-style dataset.
        dtype: floating-point data are cast to it.
        device: where batches are delivered.

    Attributes:
        remembers: names of the Python state that asking for a batch changes.
    """

    def __init__(self, task: Task, dtype: torch.dtype, device: torch.device) -> None:
        self.task = task
        self.size = len_of(task.data)
        self.steps_per_epoch = steps_per_epoch(self.size, task.batch_size, task.drop_last)
        self._place = placer(dtype, device)
        self._tensors = self._place(task.data) if is_tensors(task.data) else None
        self.remembers: tuple[str, ...] = ()
        self._recent: dict[tuple[int, int], tuple[int, Batch]] = {}

    def indices(self, order: int, step: int) -> Tensor:
        """Return the sample indices (batch,) that step ``step`` sees under an order seed."""
        epoch, place = divmod(step, self.steps_per_epoch)
        start = place * self.task.batch_size
        return _epoch_order(order, epoch, self.size, self.task.sampling)[
            start : start + self.task.batch_size
        ]

    def batch(self, streams: Streams, step: int) -> Batch:
        """Return the batch of one step, augmented, on the device."""
        key = (streams.order, streams.augmentation)
        if self._recent.get(key, (-1, None))[0] != step:
            made = self.anew(streams, step)
            self._recent = {k: v for k, v in self._recent.items() if v[0] == step}
            self._recent[key] = (step, made)
        return self._recent[key][1]

    def anew(self, streams: Streams, step: int) -> Batch:
        """Make the batch of one step, though it was made a moment ago.

        Raises:
            RunError: the data set or the augmentation fails.
        """
        indices, epoch = self.indices(streams.order, step), step // self.steps_per_epoch
        try:
            batch = self._fetch(indices, streams.augmentation, epoch)
            if self.task.augment is not None:
                batch = self.task.augment(batch, draws(streams.augmentation, epoch, indices))
        except Exception as error:
            msg = (
                f"the training data failed at step {step} (samples {indices.tolist()[:8]}…): "
                f"{type(error).__name__}: {error}. What was recorded before is kept; mend the "
                "data set and run the same command again to go on."
            )
            raise RunError(msg) from error
        return batch

    def _fetch(self, indices: Tensor, augmentation: int, epoch: int) -> Batch:
        if self._tensors is not None:
            return pytree.tree_map(lambda t: t[indices.to(t.device)], self._tensors)
        samples = []
        for index in indices.tolist():
            with seeded(derive(augmentation, epoch, index)):
                samples.append(self.task.data[index])
        return self._place(default_collate(samples))


def draws(seed: int, epoch: int, samples: Tensor) -> Callable[[int], Tensor]:
    """Return a source of uniforms whose row ``i`` depends on ``(seed, epoch, samples[i])`` alone.

    The returned function gives ``(len(samples), k)`` float64 numbers in [0, 1), new ones at
    each call. A counter-based generator (SplitMix64, Steele, Lea and Flood 2014) needs no
    state, so it cannot matter which samples share a batch.

    >>> a = draws(0, 1, torch.tensor([5, 7]))(3)
    >>> b = draws(0, 1, torch.tensor([7, 9]))(3)
    >>> bool((a[1] == b[0]).all()), tuple(a.shape)
    (True, (2, 3))
    """
    start = np.uint64(derive(seed, "draws", epoch))
    rows = _mix(start + samples.numpy().astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    taken = 0

    def uniforms(count: int) -> Tensor:
        nonlocal taken
        columns = np.arange(taken + 1, taken + count + 1, dtype=np.uint64)
        taken += count
        bits = _mix(rows[:, None] + columns * np.uint64(0xD1B54A32D192ED03))
        return torch.from_numpy((bits >> np.uint64(11)).astype(np.float64) * 2.0**-53)

    return uniforms


def _mix(x: np.ndarray[Any, np.dtype[np.uint64]]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@lru_cache(maxsize=64)
def _epoch_order(order: int, epoch: int, size: int, sampling: str) -> Tensor:
    if sampling == "sequential":
        return torch.arange(size)
    generator = torch.Generator().manual_seed(derive(order, epoch))
    if sampling == "replacement":
        return torch.randint(size, (size,), generator=generator)
    return torch.randperm(size, generator=generator)


def steps_per_epoch(size: int, batch_size: int, drop_last: bool) -> int:
    """Return how many batches one pass over ``size`` samples takes.

    >>> steps_per_epoch(1000, 32, drop_last=False), steps_per_epoch(1000, 32, drop_last=True)
    (32, 31)
    """
    return size // batch_size if drop_last else -(-size // batch_size)


def is_tensors(data: Any) -> bool:
    """Tell a tuple or dict of tensors from a data set."""
    return isinstance(data, (tuple, dict))


def len_of(data: Any) -> int:
    """Return the number of samples in a task's data."""
    if not is_tensors(data):
        return len(data)
    leaves = pytree.tree_leaves(data)
    return len(leaves[0]) if leaves else 0


def placer(dtype: torch.dtype, device: torch.device) -> Callable[[Any], Any]:
    """Return a function that moves the tensors of a batch to a device, floats to a dtype."""

    def place(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        return leaf.to(device, dtype) if leaf.is_floating_point() else leaf.to(device)

    return lambda batch: pytree.tree_map(place, batch)


def only_tensors(leaves: Sequence[Any]) -> None:
    """Refuse a batch of which a part cannot be put into a recording: text, sparse tensors.

    Raises:
        DriverError: names the part's kind; the loop driver takes such batches.
    """
    for leaf in leaves:
        if not isinstance(leaf, torch.Tensor):
            msg = f"the batch holds a {type(leaf).__name__}, and lock step takes tensors only"
            raise DriverError(msg)
        if leaf.layout is not torch.strided:
            msg = (
                f"the batch holds a tensor of layout {leaf.layout}, and lock step takes dense ones"
            )
            raise DriverError(msg)


def copied(batch: Batch) -> Batch:
    """Return a batch of the same values that a model may change in place."""
    return pytree.tree_map(lambda t: t.clone() if isinstance(t, torch.Tensor) else t, batch)


def eval_batches(data: Any, batch_size: int, place: Callable[[Any], Any]) -> Any:
    """Yield ``(batch, count)`` over evaluation data in order, without randomness."""
    size = len_of(data)
    for start in range(0, size, batch_size):
        rows = slice(start, min(start + batch_size, size))
        yield place(_cut(data, rows)), rows.stop - rows.start


def _cut(data: Any, rows: slice) -> Any:
    if is_tensors(data):
        return pytree.tree_map(lambda t: t[rows], data)
    with seeded(0):
        return default_collate([data[i] for i in range(rows.start, rows.stop)])
