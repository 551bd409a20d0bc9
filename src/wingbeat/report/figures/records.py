"""What a figure holds: plain numbers and words, with no drawing library in sight.

`curves` and `maps` compute these records from a result; `draw_plotly` and
`draw_matplotlib` draw the same record, so page and notebook cannot disagree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from wingbeat.report.figures.style import GUIDE_STYLE

MOST_POINTS = 2000
"""Points a figure carries at most, roughly; longer curves are thinned."""
FEWEST_POINTS = 40
"""Points that each curve may keep, however many curves a figure has."""
MOST_NAMES = 24
"""Names that an axis holds at most; above that their numbers are shown."""
MOST_FAMILIES = 12
"""Perturbations drawn in one figure at most; the table holds all of them."""
MOST_REPLICAS = 12
"""Replicas drawn as single lines at most; above that a median and a range."""


@dataclass(frozen=True)
class Line:
    """One curve: x and y of equal length, NaN in y breaks the line.

    ``group`` is the text of its entry in the key (several lines may share it),
    ``style`` the index for `style.look`, ``low`` and ``high`` an optional band,
    ``dash`` overrides the style's pattern, ``marked`` asks for markers.
    """

    name: str
    group: str
    style: int
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    dash: str = ""
    thin: bool = False
    marked: bool = False


@dataclass(frozen=True)
class Guide:
    """A horizontal line across the plot with its text, in the units of the y axis."""

    name: str
    y: float


@dataclass(frozen=True)
class LineFigure:
    """Curves over the steps of training.

    ``note`` is printed above the axes (for example an exact zero, which a
    logarithmic axis cannot show), ``stepped`` draws each value over the whole
    interval that ends at its x, ``names`` stand at x = 0, 1, 2, … instead of numbers.
    ``x_limits`` and ``y_limits`` are the ends of the axes where several figures share them.
    """

    key: str
    title: str
    caption: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    guides: tuple[Guide, ...] = ()
    note: str = ""
    log_y: bool = False
    stepped: bool = False
    names: tuple[str, ...] = ()
    x_limits: tuple[float, float] | None = None
    y_limits: tuple[float, float] | None = None

    @property
    def empty(self) -> bool:
        """True when no point can be drawn."""
        return not any(math.isfinite(y) for line in self.lines for y in line.y)


@dataclass(frozen=True)
class Path:
    """One replica's way through the leading components: coordinates (components, steps)."""

    name: str
    group: str
    style: int
    steps: tuple[float, ...]
    coordinates: tuple[tuple[float, ...], ...]
    thin: bool = False


@dataclass(frozen=True)
class PathFigure:
    """Ways of the replicas through two or three principal components."""

    key: str
    title: str
    caption: str
    axes: tuple[str, ...]
    paths: tuple[Path, ...]

    @property
    def empty(self) -> bool:
        """True when no point can be drawn."""
        return not any(math.isfinite(c) for path in self.paths for c in path.coordinates[0])


@dataclass(frozen=True)
class HeatFigure:
    """A map of tensors (rows) by steps (columns): log10 values, NaN where undefined.

    ``limits`` is the range of the colours.
    """

    key: str
    title: str
    caption: str
    x_label: str
    value_label: str
    layers: tuple[str, ...]
    steps: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]
    limits: tuple[float, float]

    @property
    def empty(self) -> bool:
        """True when no cell can be drawn."""
        return not any(math.isfinite(v) for row in self.values for v in row)


Figure = LineFigure | PathFigure | HeatFigure


class FigureGroup(NamedTuple):
    """One entry of a figure's key: its text, its style and whether it has markers."""

    text: str
    style: int
    dash: str
    marked: bool


def groups(figure: Figure) -> tuple[FigureGroup, ...]:
    """Return the entries of a figure's key, each once; guides come last."""
    if isinstance(figure, HeatFigure):
        return ()
    if isinstance(figure, PathFigure):
        return tuple(
            dict.fromkeys(FigureGroup(p.group, p.style, "", marked=True) for p in figure.paths)
        )
    drawn = [FigureGroup(line.group, line.style, line.dash, line.marked) for line in figure.lines]
    drawn += [FigureGroup(guide.name, GUIDE_STYLE, "", marked=False) for guide in figure.guides]
    return tuple(dict.fromkeys(drawn))
