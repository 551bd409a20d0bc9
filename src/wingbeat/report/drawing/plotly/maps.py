"""Ways through the leading components, and maps of tensors, as plotly specifications."""

from __future__ import annotations

from wingbeat.report.drawing.plotly.parts import (
    Spec,
    axis,
    base_layout,
    colour_bar,
    label,
    numbers,
    shortened,
    trace_group,
)
from wingbeat.report.figures.records import HeatFigure, Path, PathFigure
from wingbeat.report.figures.style import look

_COLORSCALE = "Cividis"


def paths_2d(figure: PathFigure) -> Spec:
    """Return ways through two components."""
    layout = base_layout(460)
    layout["xaxis"], layout["yaxis"] = axis(figure.axes[0]), axis(figure.axes[1])
    data = [_path(path) for path in figure.paths]
    return {"data": data, "layout": layout}


def _path(path: Path) -> Spec:
    style = look(path.style)
    last = len(path.steps) - 1
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": label(path.name),
        "legendgroup": trace_group(path.style, ""),
        "x": numbers(path.coordinates[0]),
        "y": numbers(path.coordinates[1]),
        "customdata": list(path.steps),
        "line": {"color": style.colour, "dash": style.dash, "width": 1.3 if path.thin else 2.4},
        "marker": {
            "color": style.colour,
            "symbol": [f"{style.marker}-open" if i == 0 else style.marker for i in range(last + 1)],
            "opacity": 1,
            # Only the two ends carry a mark: the line between them shows the way.
            "size": [9 if i in (0, last) else 0 for i in range(last + 1)],
        },
        "hovertemplate": "%{fullData.name}<br>step %{customdata}<br>x %{x:.4g}<br>y %{y:.4g}"
        "<extra></extra>",
    }


def heat(figure: HeatFigure) -> Spec:
    """Return a map of tensors by steps, its colour bar above it."""
    row = 18 if len(figure.layers) <= 40 else 11
    layout = base_layout(max(200, row * len(figure.layers) + 130))
    layout["margin"]["t"] = 0
    layout["xaxis"] = axis(figure.x_label) | {"showgrid": False}
    shown = range(len(figure.layers))
    layout["yaxis"] = axis("") | {
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
        "colorbar": colour_bar(figure.value_label),
    }
    return {"data": [trace], "layout": layout}
