"""Tell whether two copies see the same batches."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import torch
from torch import Tensor

_SEEN: Final = 4096
"""Bytes of a tensor that enter the digest of a batch: enough to tell other samples apart."""


def batch_digest(batch: Any, start: int = 0) -> int:
    """Return a checksum of the first bytes of every tensor of a batch, after that of others.

    Tensors without numbers of their own (of a transform, on "meta", sparse) do not enter.

    >>> batch_digest([torch.ones(2)]) == batch_digest([torch.ones(2)])
    True
    >>> batch_digest([torch.ones(2)]) == batch_digest({"x": torch.zeros(2)})
    False
    """
    for tensor in _tensors(batch):
        wrapped = torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        if not (wrapped or tensor.is_meta) and tensor.layout is torch.strided:
            flat = tensor.detach().reshape(-1)[: _SEEN // max(tensor.element_size(), 1)]
            start = zlib.crc32(flat.cpu().contiguous().view(torch.uint8).numpy().tobytes(), start)
    return start


def _tensors(thing: Any) -> Iterator[Tensor]:
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, Mapping):
        for item in thing.values():
            yield from _tensors(item)
    elif isinstance(thing, list | tuple):
        for item in thing:
            yield from _tensors(item)
