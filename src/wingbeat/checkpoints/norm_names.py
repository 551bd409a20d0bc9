"""Weight and spectral norm under two names: the older hooks of torch, and its parametrizations.

``weight_g`` and ``weight_v`` of ``torch.nn.utils.weight_norm`` are ``original0`` and ``original1``
of ``torch.nn.utils.parametrizations.weight_norm``; ``weight_orig``, ``weight_u`` and ``weight_v``
of spectral norm are ``original``, ``0._u`` and ``0._v``.
Source: torch.nn.utils.parametrizations, which loads older weight norm by the first of these rules.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from wingbeat.checkpoints.source import Source

_OLD = re.compile(r"(?P<stem>(?:.*\.)?)(?P<weight>[A-Za-z]+(?:_[hi]h_l\d+)?)_(?P<part>g|v|orig|u)")
_NOTE = "Names of weight and spectral norm are compared as their parametrizations have them."


def unified(sources: Sequence[Source]) -> list[Source]:
    """Return checkpoints with the newer names, where only some have the older ones."""
    if len({_has_new(source) for source in sources}) < 2:
        return list(sources)
    return [_renamed(source) for source in sources]


def newer(names: Collection[str]) -> dict[str, str]:
    """Return for every older name in a state dict the newer one; both parts have to be there.

    >>> newer(["conv.weight_g", "conv.weight_v", "conv.bias"])
    {'conv.weight_g': 'conv.parametrizations.weight.original0', \
'conv.weight_v': 'conv.parametrizations.weight.original1'}
    """
    found = {}
    for name in names:
        match = _OLD.fullmatch(name)
        if match is None:
            continue
        stem, weight, part = match["stem"], match["weight"], match["part"]
        whole = f"{stem}{weight}"
        lengths = {f"{whole}_g", f"{whole}_v"} <= set(names)
        spectral = f"{whole}_orig" in names
        ending = _ENDINGS[spectral].get(part) if lengths or spectral else None
        if ending is not None:
            found[name] = f"{stem}parametrizations.{weight}.{ending}"
    return found


_ENDINGS = {
    False: {"g": "original0", "v": "original1"},
    True: {"orig": "original", "u": "0._u", "v": "0._v"},
}


def _has_new(source: Source) -> bool:
    return any(".original" in name and "parametrizations." in name for name in source.entries)


def _renamed(source: Source) -> Source:
    new = newer([*source.entries, *source.tied])
    if not new:
        return source
    entries = {new.get(n, n): replace(e, name=new.get(n, n)) for n, e in source.entries.items()}
    tied = {new.get(n, n): new.get(kept, kept) for n, kept in source.tied.items()}
    notes = (*source.notes, _NOTE)
    return replace(source, entries=entries, tied=tied, notes=notes)  # type: ignore[type-var]
