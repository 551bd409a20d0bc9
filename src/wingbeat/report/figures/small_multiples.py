"""Many bands on one another become small drawings beside one another, on the same two scales."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from wingbeat.report.figures.records import Line, LineFigure

MOST_TOGETHER: Final = 4
"""Perturbations whose bands or replicas are drawn over one another; more cannot be told apart."""


def split(figure: LineFigure) -> tuple[tuple[str, LineFigure], ...]:
    """Return a panel for each perturbation of a figure with its title, or none if it stays whole.

    Lines that belong to no perturbation (reference, null twin) are in every panel.
    """
    own = list(dict.fromkeys(line.group for line in figure.lines if line.style >= 0))
    covered = figure.stepped or any(m.low is not None or m.thin for m in figure.lines)
    if len(own) <= MOST_TOGETHER or not covered:
        return ()
    x, y = _range(_xs(figure.lines)), _range(_heights(figure))
    return tuple(
        (
            group,
            replace(
                figure,
                lines=tuple(m for m in figure.lines if m.group == group or m.style < 0),
                x_limits=x,
                y_limits=y,
            ),
        )
        for group in own
    )


def _xs(lines: Iterable[Line]) -> Iterator[float]:
    return (x for line in lines for x in line.x)


def _heights(figure: LineFigure) -> Iterator[float]:
    for line in figure.lines:
        for part in (line.y, line.low or (), line.high or ()):
            yield from (v for v in part if v > 0 or not figure.log_y)
    yield from (guide.y for guide in figure.guides)


def _range(values: Iterable[float]) -> tuple[float, float] | None:
    found = [v for v in values if math.isfinite(v)]
    return (min(found), max(found)) if found and min(found) < max(found) else None
