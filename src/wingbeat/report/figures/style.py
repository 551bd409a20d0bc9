"""Colours, dash patterns and markers, shared by both drawings and the page.

The palette keeps its hues apart for the common forms of colour blindness, and no
line is told by colour alone: dash pattern and marker change with it.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

REFERENCE_STYLE: Final = -1
NULL_STYLE: Final = -2
GUIDE_STYLE: Final = -3

THEMES: Final[dict[str, dict[str, str]]] = {
    "light": {
        "@0": "#0067a5",
        "@1": "#d05a00",
        "@2": "#00805a",
        "@3": "#a33f86",
        "@4": "#8a6a00",
        "@5": "#3f8fc4",
        "@ink": "#1d2327",
        "@muted": "#5c666e",
        "@grid": "#e3e6e8",
        "@axis": "#9aa3a9",
        "@paper": "#ffffff",
    },
    "dark": {
        "@0": "#62b5ea",
        "@1": "#ff9653",
        "@2": "#45c79c",
        "@3": "#e590c8",
        "@4": "#e3c341",
        "@5": "#a9b8ff",
        "@ink": "#e8eaec",
        "@muted": "#a3adb4",
        "@grid": "#2c3338",
        "@axis": "#66727a",
        "@paper": "#15191c",
    },
}
"""Theme -> token -> colour. Figures name tokens; the page resolves them when it is shown."""

COLOURS: Final = 6
DASHES: Final = ("solid", "dash", "dashdot", "longdash", "dot")
MARKERS: Final = ("circle", "square", "diamond", "triangle-up", "x", "cross", "triangle-down")
MATPLOTLIB_DASHES: Final[dict[str, Any]] = {
    "solid": "-",
    "dash": (0, (5, 2)),
    "dashdot": (0, (6, 2, 1.5, 2)),
    "longdash": (0, (9, 3)),
    "dot": (0, (1.5, 2)),
    "longdashdot": (0, (9, 2, 1.5, 2)),
}
MATPLOTLIB_MARKERS: Final = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "x": "X",
    "cross": "P",
    "triangle-down": "v",
    "star": "*",
}


class SeriesStyle(NamedTuple):
    """How one family of lines is drawn: a colour token, a dash pattern, a marker."""

    colour: str
    dash: str
    marker: str


def look(style: int) -> SeriesStyle:
    """Return the look of the perturbation with this index, of the reference or of the null twin.

    >>> look(0)
    SeriesStyle(colour='@0', dash='solid', marker='circle')
    >>> look(REFERENCE_STYLE).colour
    '@ink'
    """
    if style == REFERENCE_STYLE:
        return SeriesStyle("@ink", "longdashdot", "star")
    if style == NULL_STYLE:
        return SeriesStyle("@muted", "dash", "x")
    if style == GUIDE_STYLE:
        return SeriesStyle("@muted", "dot", "circle")
    return SeriesStyle(
        f"@{style % COLOURS}", DASHES[style % len(DASHES)], MARKERS[style % len(MARKERS)]
    )


def translucent(colour: str, alpha: float) -> str:
    """Return a ``#rrggbb`` colour as ``rgba(...)``.

    >>> translucent("#0067a5", 0.2)
    'rgba(0,103,165,0.2)'
    """
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"
