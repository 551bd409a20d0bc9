"""Figure records as plotly specifications: plain JSON that the page hands to plotly.js.

Colours are tokens ("@ink", "@0", …) which `resolve` (or the page, when it is shown)
replaces by those of the light or the dark theme. Band colours are "@0-band" and so on.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from typing import Any

from wingbeat.report.figures import Figure, Guide, HeatFigure, Line, LineFigure, Path, PathFigure
from wingbeat.report.style import GUIDE_STYLE, THEMES, look, translucent

Spec = dict[str, Any]

_SYMBOLS_3D = {"triangle-up": "diamond", "triangle-down": "square"}
_COLORSCALE = "Cividis"
_LONGEST_NAME = 26


def spec(figure: Figure) -> Spec:
    """Return the plotly specification of a figure: ``{"data": […], "layout": {…}}``.

    >>> spec(LineFigure("k", "t", "c", "x", "y", ()))["data"]
    []
    """
    if isinstance(figure, HeatFigure):
        return _heat(figure)
    if isinstance(figure, PathFigure):
        return _paths_3d(figure) if len(figure.axes) == 3 else _paths_2d(figure)
    return _lines(figure)


def theme_colours(theme: str) -> dict[str, str]:
    """Return every token of a theme with its colour, the translucent bands included."""
    plain = THEMES[theme]
    return plain | {f"{token}-band": translucent(c, 0.18) for token, c in plain.items()}


def resolve(value: Any, colours: Mapping[str, str]) -> Any:
    """Return a copy of a specification with its colour tokens replaced.

    >>> resolve({"line": {"color": "@ink"}}, {"@ink": "#000000"})
    {'line': {'color': '#000000'}}
    """
    if isinstance(value, dict):
        return {k: resolve(v, colours) for k, v in value.items()}
    if isinstance(value, list):
        return [resolve(v, colours) for v in value]
    return colours.get(value, value) if isinstance(value, str) else value


def label(text: str) -> str:
    """Return text for plotly, which reads a subset of HTML: markup characters as entities.

    >>> label("a <b> & c")
    'a &lt;b&gt; &amp; c'
    """
    text = re.sub(r"\s+", " ", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # A zero-width space keeps "%{…}" from being read as a hover template.
    return text.replace("%{", "%\u200b{")


def shortened(text: str, most: int = _LONGEST_NAME) -> str:
    """Shorten a name in its middle, for tick labels.

    >>> shortened("layers.0.attention.weight", 13)
    'layers….weight'
    """
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}…{text[len(text) - half - most % 2 :]}"


def numbers(values: tuple[float, ...]) -> list[float | None]:
    """Return values for JSON: what is not finite becomes null, which plotly leaves out."""
    return [v if math.isfinite(v) else None for v in values]


def _group(style: int, dash: str) -> str:
    return f"{style}{dash}"


def _axis(title: str) -> Spec:
    return {
        "title": {"text": label(title), "standoff": 8},
        "gridcolor": "@grid",
        "linecolor": "@axis",
        "tickcolor": "@axis",
        "zeroline": False,
        "showline": True,
        "ticks": "outside",
        "ticklen": 4,
        "automargin": True,
        "separatethousands": True,
        "ticklabeloverflow": "allow",
    }


def _layout(height: int) -> Spec:
    return {
        "height": height,
        "showlegend": False,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "@ink", "size": 13},
        "margin": {"l": 16, "r": 28, "t": 12, "b": 16},
        "hovermode": "closest",
        "hoverlabel": {
            "bgcolor": "@paper",
            "bordercolor": "@axis",
            "font": {"color": "@ink"},
            "namelength": -1,
        },
    }


def _lines(figure: LineFigure) -> Spec:
    drawn = [line for line in figure.lines if any(math.isfinite(y) for y in line.y)]
    data = [trace for line in drawn for trace in _band(line, stepped=figure.stepped)]
    data += [_line(line, stepped=figure.stepped) for line in drawn]
    layout = _layout(400)
    layout["xaxis"] = _axis(figure.x_label)
    layout["yaxis"] = _axis(figure.y_label)
    if figure.log_y:
        layout["yaxis"] |= {"type": "log", "exponentformat": "power"} | _log_ticks(figure)
    if drawn:
        ends = _x_range(figure)
        data += [_guide(guide, ends) for guide in figure.guides]
    if figure.note:
        layout["annotations"] = [_note(figure.note)]
        layout["margin"]["t"] = 30
    return {"data": data, "layout": layout}


def _log_ticks(figure: LineFigure) -> Spec:
    """One tick a decade when the curves cross several, else plotly's own choice."""
    found = [y for line in figure.lines for y in line.y if math.isfinite(y) and y > 0]
    found += [g.y for g in figure.guides if g.y > 0]
    if not found:
        return {}
    decades = math.log10(max(found) / min(found))
    if decades >= 2:
        return {"dtick": math.ceil(decades / 6)}
    return {"dtick": "D2"} if decades > 0.7 else {"nticks": 6}


def _x_range(figure: LineFigure) -> tuple[float, float]:
    found = [x for line in figure.lines for x in line.x]
    return min(found), max(found)


def _line(line: Line, *, stepped: bool) -> Spec:
    style = look(line.style)
    trace: Spec = {
        "type": "scatter",
        "mode": "lines+markers" if line.marked or len(line.x) == 1 else "lines",
        "name": label(line.name),
        "legendgroup": _group(line.style, line.dash),
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
        "hovertemplate": "%{fullData.name}<br>step %{x}: %{y:.4g}<extra></extra>",
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
        "legendgroup": _group(line.style, line.dash),
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


def _paths_2d(figure: PathFigure) -> Spec:
    layout = _layout(460)
    layout["xaxis"], layout["yaxis"] = _axis(figure.axes[0]), _axis(figure.axes[1])
    data = [_path(path, "scatter", ("x", "y")) for path in figure.paths]
    return {"data": data, "layout": layout}


def _paths_3d(figure: PathFigure) -> Spec:
    layout = _layout(520)
    layout["margin"] = {"l": 0, "r": 0, "t": 0, "b": 0}
    layout["scene"] = {
        "camera": {"eye": {"x": 1.45, "y": 1.45, "z": 0.8}},
        "aspectmode": "cube",
        **{
            f"{axis}axis": {
                "title": {"text": label(figure.axes[index].partition(" (")[0])},
                "gridcolor": "@axis",
                "color": "@muted",
                "showbackground": False,
                "zeroline": False,
                "nticks": 4,
            }
            for index, axis in enumerate("xyz")
        },
    }
    data = [_path(path, "scatter3d", ("x", "y", "z")) for path in figure.paths]
    return {"data": data, "layout": layout}


def _path(path: Path, kind: str, axes: tuple[str, ...]) -> Spec:
    style = look(path.style)
    symbol = style.marker if kind == "scatter" else _SYMBOLS_3D.get(style.marker, style.marker)
    hollow = symbol if kind == "scatter3d" and symbol in ("x", "cross") else f"{symbol}-open"
    last = len(path.steps) - 1
    where = "<br>".join(f"{axis} %{{{axis}:.4g}}" for axis in axes)
    return {
        "type": kind,
        "mode": "lines+markers",
        "name": label(path.name),
        "legendgroup": _group(path.style, ""),
        **{a: numbers(c) for a, c in zip(axes, path.coordinates, strict=True)},
        "customdata": list(path.steps),
        "line": {
            "color": style.colour,
            "dash": style.dash,
            "width": (1.3 if path.thin else 2.4) * (2 if kind == "scatter3d" else 1),
        },
        "marker": {
            "color": style.colour,
            "symbol": [hollow if i == 0 else symbol for i in range(last + 1)],
            "opacity": 1,
            # Only the two ends carry a mark: the line between them shows the way.
            "size": [
                (4 if kind == "scatter3d" else 9) if i in (0, last) else 0 for i in range(last + 1)
            ],
        },
        "hovertemplate": f"%{{fullData.name}}<br>step %{{customdata}}<br>{where}<extra></extra>",
    }


def _heat(figure: HeatFigure) -> Spec:
    row = 18 if len(figure.layers) <= 40 else 11
    layout = _layout(max(200, row * len(figure.layers) + 130))
    layout["margin"]["t"] = 0
    layout["xaxis"] = _axis(figure.x_label) | {"showgrid": False}
    shown = range(len(figure.layers))
    layout["yaxis"] = _axis("") | {
        "autorange": "reversed",
        "showgrid": False,
        "tickmode": "array",
        "tickvals": list(shown),
        "ticktext": [label(shortened(figure.layers[i])) for i in shown],
        "tickfont": {"size": 11 if row == 18 else 9},
    }
    trace = {
        "type": "heatmap",
        "x": list(figure.steps),
        "y": list(shown),
        "z": [numbers(r) for r in figure.values],
        "customdata": [[label(name)] * len(figure.steps) for name in figure.layers],
        "zmin": figure.limits[0],
        "zmax": figure.limits[1],
        "colorscale": _COLORSCALE,
        "hoverongaps": False,
        "hovertemplate": "%{customdata}<br>step %{x}: %{z:.3f}<extra></extra>",
        "colorbar": {
            "orientation": "h",
            "y": 1,
            "yanchor": "bottom",
            "thickness": 10,
            "len": 0.7,
            "outlinewidth": 0,
            "nticks": 5,
            "title": {"text": label(figure.value_label), "side": "top", "font": {"size": 12}},
        },
    }
    return {"data": [trace], "layout": layout}
