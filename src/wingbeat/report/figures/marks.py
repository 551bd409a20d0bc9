"""Figure records of a study: values with intervals, by name or by number, and boxes by group."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wingbeat.report.figures.records import Guide, LineFigure


@dataclass(frozen=True)
class Dot:
    """One value with its interval (NaN where there is none).

    ``place`` is the row of a figure by name or the x of a figure by number; ``hover`` names the
    value where it is pointed at; ``style`` is the index for `style.look`.
    """

    place: float
    value: float
    low: float
    high: float
    group: str
    style: int
    hover: str


@dataclass(frozen=True)
class DotFigure:
    """Values with intervals.

    With ``rows`` the names run down the page and values run to the right, which leaves room
    for names on a phone; without, ``place`` is a number on the x axis, labelled at whole
    numbers only if ``whole_place``.
    """

    key: str
    title: str
    caption: str
    place_label: str
    value_label: str
    dots: tuple[Dot, ...]
    rows: tuple[str, ...] = ()
    guides: tuple[Guide, ...] = ()
    log_value: bool = False
    log_place: bool = False
    whole_place: bool = False

    @property
    def empty(self) -> bool:
        """True when no value can be drawn."""
        return not any(math.isfinite(dot.value) for dot in self.dots)


@dataclass(frozen=True)
class Box:
    """The values of one group, each with the words shown where it is pointed at."""

    name: str
    style: int
    values: tuple[float, ...]
    hovers: tuple[str, ...]


@dataclass(frozen=True)
class BoxFigure:
    """Median, quartiles and every single value of some groups."""

    key: str
    title: str
    caption: str
    value_label: str
    boxes: tuple[Box, ...]
    guides: tuple[Guide, ...] = ()
    log_value: bool = False

    @property
    def empty(self) -> bool:
        """True when no value can be drawn."""
        return not any(math.isfinite(v) for box in self.boxes for v in box.values)


StudyFigure = DotFigure | BoxFigure | LineFigure
Section = tuple[str, str, tuple[StudyFigure, ...]]
"""Identifier, heading and figures of a part of a page."""
