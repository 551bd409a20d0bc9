"""Pruned models: weights as they are used, not the two tensors that they are made of.

``torch.nn.utils.prune`` keeps ``weight_orig`` and ``weight_mask`` and computes ``weight`` from them
at each call; ``torch.ao.pruning`` keeps a parametrization with a mask. What it was before pruning
does not act, and a mask is no weight.
Source: https://docs.pytorch.org/tutorials/intermediate/pruning_tutorial.html
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from wingbeat.checkpoints.source import Source

# A single parametrization that holds a mask, as torch.ao.pruning's FakeSparsity.
_PARAMETRIZED = re.compile(r"(?P<stem>(?:.*\.)?)parametrizations\.(?P<weight>\w+)\.original")
_WIDE: Final = ("float64", "float32", "float16", "bfloat16")
"""Types that torch multiplies."""
_NOTE = "Pruned tensors are compared as they are used, original times mask."


def masked(source: Source) -> Source:
    """Return a checkpoint with one tensor for every pair of an original and its mask."""
    pairs = _pairs(source)
    if not pairs:
        return source
    entries = dict(source.entries)
    for original, mask, name in pairs:
        own = source.entries[source.tied.get(mask, mask)]
        entries[name] = replace(entries.pop(original), name=name, mask=own)
        entries.pop(mask, None)
    tied = {name: kept for name, kept in source.tied.items() if kept in entries}
    notes = (*source.notes, _NOTE)
    return replace(source, entries=entries, tied=tied, notes=notes)  # type: ignore[type-var]


def masks(source: Source) -> frozenset[str]:
    """Return the names of tensors that are masks of pruning."""
    return frozenset(mask for _, mask, _ in _pairs(source))


def _pairs(source: Source) -> list[tuple[str, str, str]]:
    """Return (original, mask, name of the weight) for every pair that fits."""
    known = {*source.entries, *source.tied}
    found = []
    for original in source.entries:
        mask, name = _mask_of(original)
        second = original.removesuffix("original") + "1."  # a parametrization of the masked one
        alone = not any(other.startswith(second) for other in known)
        if name and alone and mask in known and name not in known and _fits(source, original, mask):
            found.append((original, mask, name))
    return found


def _mask_of(original: str) -> tuple[str, str]:
    """Return the name of the mask that an original would have, and that of the weight."""
    if original.endswith("_orig"):
        name = original.removesuffix("_orig")
        return f"{name}_mask", name
    place = _PARAMETRIZED.fullmatch(original)
    if place is None:
        return "", ""
    return original.removesuffix("original") + "0.mask", f"{place['stem']}{place['weight']}"


def _fits(source: Source, original: str, mask: str) -> bool:
    """Tell whether a mask is one: of the original's shape and a type that multiplies it."""
    first, own = source.entries[original], source.entries[source.tied.get(mask, mask)]
    kinds = (*_WIDE, "bool", "uint8", "int8")
    return first.dtype in _WIDE and own.dtype in kinds and first.shape == own.shape
