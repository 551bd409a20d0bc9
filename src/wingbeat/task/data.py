"""What a task's data are: tensors with a sample axis in common, or a data set."""

from __future__ import annotations

from typing import Any

from torch.utils import _pytree as pytree

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


def len_of(data: Any) -> int:
    """Return the number of samples in a task's data."""
    if not is_tensors(data):
        return len(data)
    leaves = pytree.tree_leaves(data)
    return len(leaves[0]) if leaves else 0
