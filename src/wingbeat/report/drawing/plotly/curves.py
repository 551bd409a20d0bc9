"""Figure records as plotly specifications: plain JSON that the page hands to plotly.js."""

from __future__ import annotations

import itertools
import math
import re

from wingbeat.errors import RequestError
from wingbeat.report.drawing.plotly.maps import heat, paths_2d
from wingbeat.report.drawing.plotly.parts import (
    Spec,
    axis,
    base_layout,
    label,
    log_ticks,
    numbers,
    shortened,
    trace_group,
)
from wingbeat.report.figures.records import (
    MOST_NAMES,
    Figure,
    Guide,
    HeatFigure,
    Line,
    LineFigure,
    PathFigure,
)
from wingbeat.report.figures.style import GUIDE_STYLE, look


def spec(figure: Figure) -> Spec:
    """Return the plotly specification of a figure: ``{"data": […], "layout": {…}}``.

    >>> spec(LineFigure("k", "t", "c", "x", "y", ()))["data"]
    []
    """
    if isinstance(figure, HeatFigure):
        return heat(figure)
    if isinstance(figure, PathFigure):
        if len(figure.axes) != 2:
            raise RequestError(
                f"pages draw two components, this figure has {len(figure.axes)}: draw it with "
                "plot_trajectories on three-dimensional axes"
            )
        return paths_2d(figure)
    return _lines(figure)


def _lines(figure: LineFigure) -> Spec:
    drawn = [line for line in figure.lines if any(math.isfinite(y) for y in line.y)]
    data = [trace for line in drawn for trace in _band(line, stepped=figure.stepped)]
    along = re.split(r"[,(]", figure.x_label)[0].strip() or "x"
    data += [_line(line, along, stepped=figure.stepped) for line in drawn]
    layout = base_layout(400)
    layout["xaxis"] = axis(figure.x_label)
    layout["yaxis"] = axis(figure.y_label)
    if figure.names:
        layout["xaxis"] |= _names(figure)
    if figure.log_y:
        layout["yaxis"] |= {"type": "log", "exponentformat": "power"} | log_ticks(
            figure.y_limits or _heights(figure)
        )
    if figure.x_limits:
        layout["xaxis"]["range"] = _room(figure.x_limits, log=False)
    if figure.y_limits:
        layout["yaxis"]["range"] = _room(figure.y_limits, log=figure.log_y)
    if drawn:
        ends = _x_range(figure)
        data += [_guide(guide, ends) for guide in figure.guides]
    if figure.note:
        layout["annotations"] = [_note(figure.note)]
        layout["margin"]["t"] = 30
    return {"data": data, "layout": layout}


def _names(figure: LineFigure) -> Spec:
    """Return the axis of a figure whose x are places: names where there is room for them."""
    count = len(figure.names)
    shared: Spec = {"range": [-0.5, count - 0.5], "showgrid": False, "zeroline": False}
    if count > MOST_NAMES:
        return {"tick0": 0, "dtick": -(-count // 12), **shared}
    texts = [label(shortened(name)) for name in figure.names]
    return {
        "tickmode": "array",
        "tickvals": list(range(count)),
        "ticktext": texts,
        "tickangle": -90 if max(map(len, texts)) * count > 48 else 0,
        **shared,
    }


def _heights(figure: LineFigure) -> list[float]:
    return [y for line in figure.lines for y in line.y] + [g.y for g in figure.guides]


def _room(limits: tuple[float, float], *, log: bool) -> list[float]:
    """Return a range of an axis that lets no line touch its ends."""
    low, high = map(math.log10, limits) if log else limits
    return [low - 0.05 * (high - low), high + 0.05 * (high - low)]


def _x_range(figure: LineFigure) -> tuple[float, float]:
    found = [x for line in figure.lines for x in line.x]
    return min(found), max(found)


def _line(line: Line, along: str, *, stepped: bool) -> Spec:
    style = look(line.style)
    trace: Spec = {
        "type": "scatter",
        "mode": "lines+markers" if line.marked or len(line.x) == 1 else "lines",
        "name": label(line.name),
        "legendgroup": trace_group(line.style, line.dash),
        "x": numbers(line.x),
        "y": numbers(line.y),
        "line": {
            "color": style.colour,
            "dash": line.dash or style.dash,
            "width": 1.2 if line.thin else 2.2,
            "shape": "vh" if stepped else "linear",
        },
        "marker": {"symbol": style.marker, "size": 6, "color": style.colour},
        "opacity": 0.8 if line.thin else 1,
        "connectgaps": False,
        "hovertemplate": f"%{{fullData.name}}<br>{label(along)} %{{x}}: %{{y:.4g}}<extra></extra>",
    }
    return trace


def _band(line: Line, *, stepped: bool) -> list[Spec]:
    """Return the band of a line as closed outlines, one per stretch without gaps."""
    if line.low is None or line.high is None:
        return []
    points = zip(line.x, line.low, line.high, strict=True)
    stretches: list[list[tuple[float, float, float]]] = [[]]
    for point in points:
        if all(math.isfinite(p) for p in point):
            stretches[-1].append(point)
        elif stretches[-1]:
            stretches.append([])
    stretches = [s for s in stretches if len(s) > 1]
    return [_outline(line, _steps(s) if stepped else s) for s in stretches]


def _steps(points: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Hold each value over the interval that ends at its x."""
    pairs = itertools.pairwise(points)
    return [corner for (x0, _, _), end in pairs for corner in ((x0, *end[1:]), end)]


def _outline(line: Line, stretch: list[tuple[float, float, float]]) -> Spec:
    back = stretch[::-1]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": label(line.name),
        "legendgroup": trace_group(line.style, line.dash),
        "x": [p[0] for p in stretch] + [p[0] for p in back],
        "y": [p[2] for p in stretch] + [p[1] for p in back],
        "fill": "toself",
        "fillcolor": f"{look(line.style).colour}-band",
        "line": {"width": 0},
        "hoverinfo": "skip",
    }


def _guide(guide: Guide, ends: tuple[float, float]) -> Spec:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": label(guide.name),
        "x": list(ends),
        "y": [guide.y, guide.y],
        "line": {"color": look(GUIDE_STYLE).colour, "dash": look(GUIDE_STYLE).dash, "width": 1.5},
        "hoverinfo": "skip",
    }


def _note(text: str) -> Spec:
    return {
        "text": label(text),
        "xref": "paper",
        "yref": "paper",
        "x": 1,
        "y": 1,
        "xanchor": "right",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"color": "@muted", "size": 12},
    }
