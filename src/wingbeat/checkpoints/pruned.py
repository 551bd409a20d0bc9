"""Pruned models: weights as they are used, not the two tensors that they are made of.

``torch.nn.utils.prune`` keeps ``weight_orig`` and ``weight_mask`` and computes ``weight`` from them
at each call. What it was before pruning does not act, and a mask is no weight.
Source: https://docs.pytorch.org/tutorials/intermediate/pruning_tutorial.html
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from wingbeat.checkpoints.source import Entry, Source

_ORIGINAL, _MASK = "_orig", "_mask"
_WIDE: Final = ("float64", "float32", "float16", "bfloat16")
"""Types that torch multiplies."""
_NOTE = "Pruned tensors are compared as they are used, weight_orig times weight_mask."


def masked(source: Source) -> Source:
    """Return a checkpoint with one tensor for every pair of an original and its mask."""
    pairs = {stem: mask for stem in _stems(source) if (mask := _mask(source, stem)) is not None}
    if not pairs:
        return source
    entries = {}
    for name, entry in source.entries.items():
        stem = name.removesuffix(_ORIGINAL)
        if stem != name and stem in pairs:
            entries[stem] = replace(entry, name=stem, mask=pairs[stem])
        elif name.removesuffix(_MASK) not in pairs:
            entries[name] = entry
    tied = {name: kept for name, kept in source.tied.items() if kept in entries}
    notes = (*source.notes, _NOTE)
    return replace(source, entries=entries, tied=tied, notes=notes)  # type: ignore[type-var]


def _stems(source: Source) -> list[str]:
    known = {*source.entries, *source.tied}
    stems = [n.removesuffix(_ORIGINAL) for n in source.entries if n.endswith(_ORIGINAL)]
    return [stem for stem in stems if stem not in known]


def _mask(source: Source, stem: str) -> Entry | None:
    """Return the mask of a pair that fits; two equal masks may be stored once."""
    name, original = f"{stem}{_MASK}", source.entries[f"{stem}{_ORIGINAL}"]
    mask = source.entries.get(source.tied.get(name, name))
    if mask is None or original.dtype not in _WIDE or mask.shape != original.shape:
        return None
    return mask if mask.dtype in (*_WIDE, "bool", "uint8", "int8") else None
