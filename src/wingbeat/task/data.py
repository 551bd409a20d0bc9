"""What a task's data are: tensors with a sample axis in common, or a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch.utils import _pytree as pytree
from torch.utils.data import Subset, default_collate

from wingbeat.errors import RequestError

Batch = Any
"""A tuple or dict of tensors, or whatever the data set's samples collate to."""


def steps_per_epoch(size: int, batch_size: int, drop_last: bool) -> int:
    """Return how many batches one pass over ``size`` samples takes.

    >>> steps_per_epoch(1000, 32, drop_last=False), steps_per_epoch(1000, 32, drop_last=True)
    (32, 31)
    """
    return size // batch_size if drop_last else -(-size // batch_size)


def is_tensors(data: Any) -> bool:
    """Tell a tuple or dict of tensors from a data set."""
    return isinstance(data, (tuple, dict))


@dataclass(frozen=True)
class Collated:
    """A data set together with what joins its samples to a batch."""

    samples: Any
    collate: Callable[[list[Any]], Batch]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        """Return a sample."""
        return self.samples[index]


def plain(batch: Batch) -> Batch:
    """Return a batch as a dict where it is another mapping, such as a tokenizer's.

    To torch such a mapping is one thing without tensors in it.
    """
    named = isinstance(batch, Mapping) and not isinstance(batch, dict)
    return dict(batch) if named else batch


def joined(data: Any, samples: list[Any]) -> Batch:
    """Join samples of a data set to a batch, as the data set says or as torch does it.

    Raises:
        RequestError: the samples do not fit together, and nothing says how to join them.

    >>> joined(Collated([], sum), [1, 2])
    3
    """
    while isinstance(data, Subset):
        data = data.dataset
    if isinstance(data, Collated):
        return plain(data.collate(samples))
    try:
        return default_collate(samples)
    except RuntimeError as error:
        if "equal size" not in str(error):
            raise
        msg = (
            "the samples of a batch have different shapes: pass collate=, which joins a list of "
            f"samples to a batch, for example by padding ({str(error).splitlines()[0]})"
        )
        raise RequestError(msg) from error


def len_of(data: Any) -> int:
    """Return the number of samples in a task's data.

    Raises:
        RequestError: the task has batches only.
    """
    if data is None:
        msg = (
            "this needs the training data by sample, and the task has batches= alone: give it "
            "data= or a DataLoader over a data set with a length"
        )
        raise RequestError(msg)
    if not is_tensors(data):
        return len(data)
    leaves = pytree.tree_leaves(data)
    return len(leaves[0]) if leaves else 0
