"""A table as a page shows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table of words: the first cell of each row names it."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
