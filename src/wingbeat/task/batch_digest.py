"""Tell whether two copies see the same batches."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import torch
from torch import Tensor

_SEEN: Final = 4096
"""Bytes of a tensor that enter the digest of a batch: enough to tell other samples apart."""
_PLAIN: Final = frozenset(
    (torch.float64, torch.float32, torch.float16, torch.int64, torch.int32, torch.uint8, torch.bool)
)
"""Types whose numbers NumPy shows as they lie in memory."""


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
            start = zlib.crc32(_first_bytes(tensor), start)
    return start


def _first_bytes(tensor: Tensor) -> Any:
    size = max(tensor.element_size(), 1)
    plain = tensor.device.type == "cpu" and tensor.dtype in _PLAIN
    if plain and tensor.is_contiguous() and tensor.numel():
        # A third of the time of the same through torch, which is a tenth of a small net's step.
        array: Any = tensor.detach().numpy()
        return memoryview(array).cast("B")[: _SEEN // size * size]
    flat = tensor.detach().reshape(-1)[: _SEEN // size].resolve_conj().resolve_neg()
    return flat.cpu().contiguous().view(torch.uint8).numpy().tobytes()


def _tensors(thing: Any) -> Iterator[Tensor]:
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, Mapping):
        for item in thing.values():
            yield from _tensors(item)
    elif isinstance(thing, list | tuple):
        for item in thing:
            yield from _tensors(item)
