"""Nested states of parts as tensors and plain JSON, and back: no file of ours holds code."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import torch

from wingbeat.errors import RequestError

_METADATA: Final = "_metadata"
"""What a module's state dict carries beside its items: versions of its layers."""


def flattened(state: Any) -> tuple[dict[str, torch.Tensor], Any]:
    """Return the tensors of a state by number, and the rest as JSON that names them.

    Raises:
        RequestError: the state holds something else than tensors, numbers, text, lists, tuples,
            dicts and counters.

    >>> tensors, rest = flattened({"step": 3, 0: (torch.ones(2), float("inf"))})
    >>> sorted(tensors), rebuilt(tensors, rest)
    (['0'], {'step': 3, 0: (tensor([1., 1.]), inf)})
    """
    tensors: dict[str, torch.Tensor] = {}
    return tensors, _written(state, tensors)


def _written(item: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(item, torch.Tensor):
        name = str(len(tensors))
        # A clone: tensors that share memory cannot be written to one file.
        tensors[name] = item.detach().clone().contiguous()
        return {"tensor": name}
    if isinstance(item, float) and not math.isfinite(item):
        return {"float": repr(float(item))}
    if item is None or isinstance(item, bool | int | str | float):
        return item
    if type(item) in (list, tuple):
        return {type(item).__name__: [_written(inner, tensors) for inner in item]}
    if not isinstance(item, Mapping):
        raise RequestError(f"a state holds a {type(item).__name__}, which is no plain data")
    pairs = [[_written(k, tensors), _written(v, tensors)] for k, v in item.items()]
    own = getattr(item, _METADATA, None)
    kind = "counter" if isinstance(item, Counter) else "dict"
    return {kind: pairs, **({"metadata": _written(own, tensors)} if own else {})}


class _WithMetadata(dict[Any, Any]):
    """A state dict that carries versions of its layers, as torch's own does."""

    _metadata: Any


def rebuilt(tensors: Mapping[str, torch.Tensor], item: Any) -> Any:
    """Return the state that `flattened` took apart; each tensor is a fresh one."""
    if not isinstance(item, dict):
        return item
    if "tensor" in item or "float" in item:
        return tensors[item["tensor"]].clone() if "tensor" in item else float(item["float"])
    for kind, make in (("list", list), ("tuple", tuple)):
        if kind in item:
            return make(rebuilt(tensors, inner) for inner in item[kind])
    pairs = item["counter"] if "counter" in item else item["dict"]
    found = {rebuilt(tensors, k): rebuilt(tensors, v) for k, v in pairs}
    if "counter" in item:
        return Counter(found)
    if "metadata" in item:
        carrying = _WithMetadata(found)
        carrying._metadata = rebuilt(tensors, item["metadata"])
        return carrying
    return found
