"""Maps of cells as plotly specifications."""

from __future__ import annotations

import math

from wingbeat.report.drawing.plotly.parts import Spec, axis, base_layout, colour_bar, label, numbers
from wingbeat.report.figures.cell_map import CellMap

_COLORSCALE = "Cividis"
_ROW = 46
_LETTER = 8


def cell_map_spec(figure: CellMap) -> Spec:
    """Return the plotly specification: colours from 0 up, the text in every cell.

    Example:
        >>> one = CellMap("k", "t", "c", "x", "y", ("a",), ("b",), ((1.0,),), (("1",),),
        ...               (("b, a: 1",),), "v")
        >>> cell_map_spec(one)["data"][0]["text"]
        [['1']]
    """
    # A few rows are made higher, so that the label beside them has room.
    layout = base_layout(max(_ROW * len(figure.rows), _LETTER * len(figure.y_label)) + 150)
    layout["margin"]["t"] = 0
    for name, title, names in (
        ("xaxis", figure.x_label, figure.columns),
        ("yaxis", figure.y_label, figure.rows),
    ):
        layout[name] = axis(title) | {
            "showgrid": False,
            "tickmode": "array",
            "tickvals": list(range(len(names))),
            "ticktext": [label(n) for n in names],
            "range": [-0.5, len(names) - 0.5],
        }
    layout["yaxis"]["range"] = [len(figure.rows) - 0.5, -0.5]
    finite = [v for row in figure.values for v in row if math.isfinite(v)]
    trace = {
        "type": "heatmap",
        "x": list(range(len(figure.columns))),
        "y": list(range(len(figure.rows))),
        "z": [numbers(row) for row in figure.values],
        "text": [[label(t) for t in row] for row in figure.texts],
        "texttemplate": "%{text}",
        "customdata": [[label(t) for t in row] for row in figure.hovers],
        "hovertemplate": "%{customdata}<extra></extra>",
        "zmin": 0,
        "zmax": max([*finite, 1e-12]),
        "colorscale": _COLORSCALE,
        "hoverongaps": False,
        "xgap": 2,
        "ygap": 2,
        "colorbar": colour_bar(figure.value_label),
    }
    return {"data": [trace], "layout": layout}
