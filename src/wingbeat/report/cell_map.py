"""A map of cells with their values written in them, for grids of two named axes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wingbeat.report.plotly_parts import Spec, axis, base_layout, label, numbers

_COLORSCALE = "Cividis"
_ROW = 46
_LETTER = 8


@dataclass(frozen=True)
class CellMap:
    """Values over columns and rows that are names, not positions.

    Attributes:
        key: short name.
        title: what it shows, with the finding where there is one.
        caption: how to read it.
        x_label: of the columns.
        y_label: of the rows.
        columns: names from left to right.
        rows: names from top to bottom.
        values: one tuple for each row, NaN where there is none.
        texts: what is written in each cell, as ``values``.
        hovers: what is said where a cell is pointed at, as ``values``.
        value_label: of the colours.
    """

    key: str
    title: str
    caption: str
    x_label: str
    y_label: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    texts: tuple[tuple[str, ...], ...]
    hovers: tuple[tuple[str, ...], ...]
    value_label: str

    @property
    def empty(self) -> bool:
        """True when no cell can be drawn."""
        return not any(math.isfinite(v) for row in self.values for v in row)


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
