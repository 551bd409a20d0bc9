"""Figure records of a study as plotly specifications, in the style of a run's report."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from wingbeat.report.drawing.plotly.curves import spec
from wingbeat.report.drawing.plotly.parts import (
    Spec,
    axis,
    base_layout,
    in_lines,
    label,
    log_ticks,
    numbers,
)
from wingbeat.report.figures.marks import Box, BoxFigure, Dot, DotFigure, StudyFigure
from wingbeat.report.figures.records import Guide
from wingbeat.report.figures.style import GUIDE_STYLE, look

_ROW = 24
_TALL_ROW = 38
"""Pixels of a row whose name takes two lines."""
_NAMED = 8
"""Places up to which each is named on a logarithmic axis."""
_APART = 1.25
"""Ratio of neighbours from which on their names do not touch."""


def study_spec(figure: StudyFigure) -> Spec:
    """Return the plotly specification of a figure of a study.

    >>> study_spec(DotFigure("k", "t", "c", "x", "y", ()))["data"]
    []
    """
    if isinstance(figure, DotFigure):
        return _dots(figure)
    if isinstance(figure, BoxFigure):
        return _boxes(figure)
    found = spec(figure)
    for trace in found["data"]:
        if "hovertemplate" in trace:
            trace["hovertemplate"] = "%{fullData.name}<br>epoch %{x}: %{y:.4g}<extra></extra>"
    return found


def _layout(x_label: str, y_label: str) -> Spec:
    """Return the layout that a run's report uses."""
    return base_layout(400) | {"xaxis": axis(x_label), "yaxis": axis(y_label)}


def _log() -> Spec:
    return {"type": "log", "exponentformat": "power"}


def _place_ticks(places: list[float]) -> Spec:
    """Name the places themselves where they are few, round and apart, else one tick a decade."""
    found = sorted({v for v in places if math.isfinite(v) and v > 0})
    names = [f"{v:.3g}" for v in found]
    round_ = all(math.isclose(float(name), v) for name, v in zip(names, found, strict=True))
    apart = all(b / a >= _APART for a, b in pairwise(found))
    if not found or len(found) > _NAMED or not (round_ and apart):
        return log_ticks(places)
    return {"tickmode": "array", "tickvals": found, "ticktext": names}


def _dots(figure: DotFigure) -> Spec:
    by_name = bool(figure.rows)
    drawn = [dot for dot in figure.dots if math.isfinite(dot.value)]
    groups = dict.fromkeys((dot.group, dot.style) for dot in drawn)
    data = [
        _dot_trace([d for d in drawn if (d.group, d.style) == group], by_name=by_name)
        for group in groups
    ]
    axes = (figure.value_label, "") if by_name else (figure.place_label, figure.value_label)
    layout = _layout(*axes)
    values = [v for d in drawn for v in (d.value, d.low, d.high)] + [g.y for g in figure.guides]
    value_axis, place_axis = ("xaxis", "yaxis") if by_name else ("yaxis", "xaxis")
    if figure.log_value:
        layout[value_axis] |= _log() | log_ticks(values)
    if figure.log_place:
        layout[place_axis] |= _log() | _place_ticks([d.place for d in drawn])
    if figure.whole_place:
        layout[place_axis] |= {"dtick": 1, "showgrid": False}
    if by_name:
        tall = _TALL_ROW if any(len(in_lines(name)) > 1 for name in figure.rows) else _ROW
        layout["height"] = max(200, tall * len(figure.rows) + 90)
        layout["yaxis"] |= _rows(figure.rows)
    if drawn:
        ends = [d.place for d in drawn]
        wide = (-0.6, len(figure.rows) - 0.4) if by_name else (min(ends), max(ends))
        data += [_guide(guide, wide, across=by_name) for guide in figure.guides]
    return {"data": data, "layout": layout}


def _rows(names: tuple[str, ...]) -> Spec:
    return {
        "tickmode": "array",
        "tickvals": list(range(len(names))),
        "ticktext": ["<br>".join(map(label, in_lines(name))) for name in names],
        "range": [len(names) - 0.4, -0.6],
        "showgrid": False,
    }


def _dot_trace(dots: list[Dot], *, by_name: bool) -> Spec:
    shape = look(dots[0].style)
    values = numbers(tuple(d.value for d in dots))
    bars = {
        "type": "data",
        "symmetric": False,
        "array": numbers(tuple(d.high - d.value for d in dots)),
        "arrayminus": numbers(tuple(d.value - d.low for d in dots)),
        "color": shape.colour,
        "thickness": 1.6,
        "width": 3,
    }
    places = [d.place for d in dots]
    x, y = (values, places) if by_name else (places, values)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": label(dots[0].group),
        "legendgroup": str(dots[0].style),
        "x": x,
        "y": y,
        "error_x" if by_name else "error_y": bars,
        "marker": {"symbol": shape.marker, "size": 9, "color": shape.colour},
        "customdata": [label(d.hover) for d in dots],
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _boxes(figure: BoxFigure) -> Spec:
    layout = _layout("", figure.value_label)
    data = [_box(box) for box in figure.boxes]
    values = [v for box in figure.boxes for v in box.values]
    if figure.log_value:
        layout["yaxis"] |= _log() | log_ticks(values)
    layout["xaxis"] |= {"showgrid": False, "range": [-0.6, len(figure.boxes) - 0.4]}
    names = [label(b.name) for b in figure.boxes]
    data += [_guide(g, (-0.6, len(names) - 0.4), across=False) for g in figure.guides]
    layout["xaxis"] |= {
        "tickmode": "array",
        "tickvals": list(range(len(names))),
        "ticktext": names,
    }
    for place, trace in enumerate(data[: len(names)]):
        trace["x"] = [place] * len(trace["y"])
    return {"data": data, "layout": layout}


def _box(box: Box) -> Spec:
    shape = look(box.style)
    return {
        "type": "box",
        "name": label(box.name),
        "legendgroup": str(box.style),
        "y": numbers(box.values),
        "boxpoints": "all",
        "jitter": 0.5,
        "pointpos": 0,
        "width": 0.5,
        "fillcolor": f"{shape.colour}-band",
        "line": {"color": shape.colour, "width": 1.8},
        "marker": {"symbol": shape.marker, "size": 6, "color": shape.colour},
        "text": [label(h) for h in box.hovers],
        "hoveron": "points",
        "hovertemplate": "%{text}<extra></extra>",
    }


def _guide(guide: Guide, ends: tuple[float, float], *, across: bool) -> Spec:
    """Return a line at a value: down the page where values run to the right (``across``)."""
    at: list[Any] = [guide.y, guide.y]
    shape = look(GUIDE_STYLE)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": label(guide.name),
        "x": at if across else list(ends),
        "y": list(ends) if across else at,
        "line": {"color": shape.colour, "dash": shape.dash, "width": 1.5},
        "hoverinfo": "skip",
    }
