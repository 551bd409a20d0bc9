"""What is kept of a step's outputs to compare others with: large tensors only as a digest.

A proof that holds two whole generations of all replicas beside the one that trains would be the
dearest moment of a run.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import torch

from wingbeat.replicas.snapshot import LARGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from wingbeat.task.state import State

_LEAST: Final = 1 << 16
"""Bytes of a tensor below which it is kept as it is."""
_BLOCK: Final = 1 << 18
"""Numbers that are digested at once: a megabyte or two, which is no faster with more."""


def mark(tensors: Sequence[Tensor], *, always: bool = False) -> list[Tensor]:
    """Return what equal tensors have in common: themselves, or a digest where they are large.

    Args:
        tensors: what a step makes, which are large where all together are.
        always: take digests in any case.

    >>> small = torch.ones(2)
    >>> mark([small])[0] is small
    True
    """
    large = always or sum(t.nbytes for t in tensors) > LARGE
    return [
        _digest(t) if large and t.device.type == "cpu" and t.nbytes > _LEAST else t for t in tensors
    ]


def equal(a: Sequence[Tensor], b: Sequence[Tensor]) -> bool:
    """Tell whether tensors, or what is marked of them, are the same numbers.

    >>> equal([torch.tensor([0.0, torch.nan])], [torch.tensor([-0.0, torch.nan])])
    True
    """
    pairs = zip(a, b, strict=True)
    return all(torch.equal(x.nan_to_num(), y.nan_to_num()) for x, y in pairs)


def mark_of_state(state: State, *, large: bool) -> list[Tensor]:
    """Return what equal states have in common: what a slot or a buffer holds counts too."""
    rest = [own[name] for own in (state.buffers, state.slots) for name in sorted(own)]
    return mark([state.params, *rest], always=large)


def _digest(tensor: Tensor) -> Tensor:
    total = hashlib.sha256(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    for block in _blocks(tensor.detach()):
        numbers = block.nan_to_num()
        numbers = numbers.add_(0) if numbers.is_floating_point() else numbers  # a zero's sign
        array: Any = numbers.view(torch.uint8).numpy()
        total.update(memoryview(array))
    return torch.frombuffer(bytearray(total.digest()), dtype=torch.uint8)


def _blocks(tensor: Tensor) -> Iterator[Tensor]:
    """Yield all numbers in order; of a tensor that lies transposed a few rows are laid flat."""
    if tensor.is_contiguous() or tensor.numel() <= _BLOCK:
        yield from torch.split(tensor.reshape(-1), _BLOCK)
        return
    rows = _BLOCK // tensor[0].numel()
    for part in torch.split(tensor, rows) if rows else tensor:
        yield from _blocks(part)
