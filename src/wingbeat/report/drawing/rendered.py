"""Figures as a page shows them: words, key and specification."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from wingbeat.report.figures.records import FigureGroup
from wingbeat.report.figures.style import GUIDE_STYLE, look

DASH_ARRAYS: Final = {
    "solid": "",
    "dash": "6 4",
    "dashdot": "7 3 2 3",
    "longdash": "11 5",
    "dot": "2 3",
    "longdashdot": "10 3 2 3",
}
MARKER_SHAPES: Final = {
    "circle": "M17 8a3 3 0 1 0 6 0a3 3 0 1 0 -6 0z",
    "square": "M17 5h6v6h-6z",
    "diamond": "M20 4l4 4l-4 4l-4 -4z",
    "triangle-up": "M20 4l4 7h-8z",
    "triangle-down": "M20 12l4 -7h-8z",
    "star": "M20 3.2l1.2 3.4l3.6 .1l-2.9 2.2l1 3.5l-2.9 -2l-2.9 2l1 -3.5l-2.9 -2.2l3.6 -.1z",
    "cross": "M18.7 4h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7v-2.6h2.7z",
    "x": "M17.5 4l2.5 2.5l2.5 -2.5l1.5 1.5l-2.5 2.5l2.5 2.5l-1.5 1.5l-2.5 -2.5l-2.5 2.5"
    "l-1.5 -1.5l2.5 -2.5l-2.5 -2.5z",
}


class KeyEntry(NamedTuple):
    """One entry of a figure's key: its text, the traces it stands for and its swatch."""

    text: str
    group: str
    colour: str
    dashes: str
    marker: str


class RenderedPanel(NamedTuple):
    """One drawing: its specification and, among small multiples, what it shows."""

    ident: str
    title: str
    spec: dict[str, Any]


class RenderedFigure(NamedTuple):
    """A figure as the page shows it: one panel, several small ones, none if nothing is drawn."""

    ident: str
    title: str
    caption: str
    note: str
    key: tuple[KeyEntry, ...]
    panels: tuple[RenderedPanel, ...]


class Section(NamedTuple):
    """A group of figures under one heading; a folded one is opened by the reader."""

    ident: str
    title: str
    figures: tuple[RenderedFigure, ...]
    folded: bool = False


def key_entries(entries: Iterable[FigureGroup]) -> tuple[KeyEntry, ...]:
    """Return the entries of a key with their swatches; guides have no group to hide."""
    return tuple(_key_entry(entry) for entry in entries)


def _key_entry(entry: FigureGroup) -> KeyEntry:
    shape = look(entry.style)
    return KeyEntry(
        text=entry.text,
        group="" if entry.style == GUIDE_STYLE else f"{entry.style}{entry.dash}",
        colour=f"var(--c-{shape.colour[1:]})",
        dashes=DASH_ARRAYS[entry.dash or shape.dash],
        marker=MARKER_SHAPES[shape.marker] if entry.marked else "",
    )
