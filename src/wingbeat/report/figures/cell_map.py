"""A map of cells with their values written in them, for grids of two named axes."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class CellMap:
    """Values over columns and rows that are names, not positions.

    Attributes:
        key: short name.
        title: what it shows, with the finding where there is one.
        caption: how to read it.
        x_label: of the columns.
        y_label: of the rows.
        columns: names from left to right.
        rows: names from top to bottom.
        values: one tuple for each row, NaN where there is none.
        texts: what is written in each cell, as ``values``.
        hovers: what is said where a cell is pointed at, as ``values``.
        value_label: of the colours.
    """

    key: str
    title: str
    caption: str
    x_label: str
    y_label: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    texts: tuple[tuple[str, ...], ...]
    hovers: tuple[tuple[str, ...], ...]
    value_label: str

    @property
    def empty(self) -> bool:
        """True when no cell can be drawn."""
        return not any(math.isfinite(v) for row in self.values for v in row)
