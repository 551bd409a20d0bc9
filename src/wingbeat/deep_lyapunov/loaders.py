"""The training loader as a training function sees it: on the device, with its passes counted."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

Callback = Callable[[bool], None]


def moved(batch: Any, device: torch.device | str) -> Any:
    """Return a batch with every tensor in it on the device; everything else as it is.

    >>> moved({"x": torch.zeros(2), "n": 3}, "meta")["x"].device.type
    'meta'
    """
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(moved(item, device) for item in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(moved(item, device) for item in batch)
    if isinstance(batch, Mapping):
        return {key: moved(item, device) for key, item in batch.items()}
    # Batches of Hugging Face tokenizers and the like move themselves.
    move = getattr(batch, "to", None)
    return move(device) if callable(move) else batch


def prepared(loader: Any, device: str, after_pass: Callback | None = None) -> Any:
    """Return a loader whose batches are on the device and that reports its passes.

    A ``DataLoader`` stays one, of a class made on the spot; anything else that can be iterated
    is wrapped. Nothing is wrapped where there is nothing to do.

    Args:
        loader: left unchanged.
        device: where models are; nothing is moved for "cpu".
        after_pass: called when an iteration ends; its argument tells whether the loader was
            read to its end.

    >>> passes = []
    >>> list(prepared([1, 2], "cpu", passes.append)), passes
    ([1, 2], [True])
    """
    if device == "cpu" and after_pass is None:
        return loader

    def batches(source: Iterator[Any]) -> Iterator[Any]:
        """Yield the batches, and tell at the end whether the pass was a whole one."""
        whole = False
        try:
            for batch in source:
                yield batch if device == "cpu" else moved(batch, device)
            whole = True
        finally:
            if after_pass is not None:
                after_pass(whole)

    if not isinstance(loader, DataLoader):
        return _Iterable(loader, batches)
    kind = type(loader)

    def iterate(self: Any) -> Iterator[Any]:
        return batches(kind.__iter__(self))

    twin = copy.copy(loader)
    twin.__class__ = type(kind.__name__, (kind,), {"__iter__": iterate})
    return twin


class _Iterable:
    """Anything that can be iterated, with everything else handed on."""

    def __init__(self, inner: Any, batches: Callable[[Iterator[Any]], Iterator[Any]]) -> None:
        self._inner = inner
        self._batches = batches

    def __iter__(self) -> Iterator[Any]:
        return self._batches(iter(self._inner))

    def __len__(self) -> int:
        return len(self._inner)

    def __getattr__(self, name: str) -> Any:
        if name == "_inner":
            raise AttributeError(name)
        return getattr(self._inner, name)
