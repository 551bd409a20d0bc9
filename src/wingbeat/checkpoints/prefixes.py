"""Checkpoints whose names differ by a prefix only: a wrapper kept the model under a name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wingbeat.checkpoints.norm_names import unified

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wingbeat.checkpoints.source import Source


def aligned(sources: Sequence[Source]) -> list[Source]:
    """Return checkpoints with the names of the first; each that was changed has a note.

    Names are changed only where a checkpoint shares none with the first, and one prefix
    (``model.``, as Lightning writes it) turns the names of the one into all those of the other,
    with the same shapes. Weight norm of older torch gets its newer names where both occur.
    """
    sources = unified(sources)
    first = sources[0]
    return [first, *(_like(first, other) for other in sources[1:])]


def _like(first: Source, other: Source) -> Source:
    mine, theirs = [*first.entries, *first.tied], [*other.entries, *other.tied]
    if not mine or not theirs or set(mine) & set(theirs):
        return other
    longer = _prefix(mine, theirs)
    if longer and _same_shapes(first, other, longer, ""):
        return _renamed(other, longer, "", f"Names are compared without {longer!r}.")
    longer = _prefix(theirs, mine)
    if longer and _same_shapes(first, other, "", longer):
        return _renamed(other, "", longer, f"Names are compared as if {longer!r} stood before.")
    return other


def _prefix(short: Sequence[str], long: Sequence[str]) -> str:
    """Return what stands before every name of ``long`` that is one of ``short``; "" if nothing.

    >>> _prefix(["fc.weight", "b"], ["model.fc.weight", "model.b"])
    'model.'
    """
    if len(short) != len(long):
        return ""
    ends = [name for name in long if name.endswith(f".{short[0]}")]
    found = {name.removesuffix(short[0]) for name in ends}
    return next((p for p in sorted(found) if {f"{p}{n}" for n in short} == set(long)), "")


def _same_shapes(first: Source, other: Source, cut: str, put: str) -> bool:
    new = {put + n.removeprefix(cut): e.shape for n, e in other.entries.items()}
    return all(new.get(n, e.shape) == e.shape for n, e in first.entries.items())


def _renamed(source: Source, cut: str, put: str, note: str) -> Source:
    def name(old: str) -> str:
        return put + old.removeprefix(cut)

    entries = {name(n): replace(e, name=name(n)) for n, e in source.entries.items()}
    tied = {name(n): name(kept) for n, kept in source.tied.items()}
    notes = (*source.notes, note)
    return replace(source, entries=entries, tied=tied, notes=notes)  # type: ignore[type-var]
