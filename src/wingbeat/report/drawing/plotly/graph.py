"""Graphs of states as plotly specifications."""

from __future__ import annotations

import math

from wingbeat.report.drawing.plotly.parts import Spec, axis, base_layout, colour_bar, label
from wingbeat.report.figures.graph import GraphEdge, GraphFigure, GraphNode

_COLORSCALE = "Cividis"
_SMALL, _LARGE = 22.0, 40.0
"""Diameters of a node that hardly anybody and that all come by, in pixels."""
_THIN, _THICK = 1.2, 6.0
_POINTS = 24
_BELOW = 0.8
"""How far the words reach below a node, in units of the axis: ways back run under them."""


def graph_spec(figure: GraphFigure) -> Spec:
    """Return the plotly specification: nodes at equal distances, named by where they stand.

    Ways to the next node are straight, those that skip one bend above, those back below.

    Example:
        >>> node = GraphNode("0", ("30 of 30",), 12.0, 1.0, 0.5, "state 0")
        >>> one = GraphFigure("k", "t", "c", "step", "accuracy", (0.0, 1.0), (node,), ())
        >>> graph_spec(one)["data"][-1]["text"]
        ['0']
    """
    order = sorted(range(len(figure.nodes)), key=lambda i: (_late(figure.nodes[i]), i))
    place = {node: at for at, node in enumerate(order)}
    nodes = [figure.nodes[i] for i in order]
    ways = [(place[e.source], place[e.target], e) for e in figure.edges]
    top = max((_height(b - a) for a, b, _ in ways), default=0.0)
    low = min((_height(b - a) for a, b, _ in ways), default=0.0)
    layout = base_layout(280 + round(70 * (max(top, 0.3) + max(-low - _BELOW, 0.0))))
    layout["margin"] |= {"t": 46, "r": 16}
    layout["xaxis"] = axis(figure.x_label) | {
        "tickmode": "array",
        "tickvals": list(range(len(nodes))),
        "ticktext": [f"{n.x:,.0f}" if math.isfinite(n.x) else "–" for n in nodes],
        "range": [-0.55, len(nodes) - 0.45],
        "fixedrange": True,
        "showgrid": False,
        "showline": False,
        "ticks": "",
    }
    layout["yaxis"] = {
        "range": [min(low, -_BELOW) - 0.12, max(top, 0.3) + 0.25],
        "visible": False,
        "fixedrange": True,
    }
    layout["annotations"] = [_words(a, b, e) for a, b, e in ways]
    sizes = [_SMALL + (_LARGE - _SMALL) * n.share for n in nodes]
    data = [_way(a, b, e, sizes[b] / 2) for a, b, e in ways]
    return {"data": [*data, *_below(nodes), _circles(figure, nodes, sizes)], "layout": layout}


def _late(node: GraphNode) -> float:
    return node.x if math.isfinite(node.x) else math.inf


def _height(span: int) -> float:
    """Return how high the middle of a way lies, by how many nodes on it leads."""
    if span == 1:
        return 0.0
    return 0.35 + 0.3 * (span - 1) if span > 0 else -(_BELOW + 0.2 * -span)


def _curve(a: int, b: int) -> tuple[list[float], list[float]]:
    high = _height(b - a)
    shares = [i / _POINTS for i in range(_POINTS + 1)] if high else [0.0, 1.0]
    return [a + (b - a) * t for t in shares], [4 * high * t * (1 - t) for t in shares]


def _way(a: int, b: int, edge: GraphEdge, radius: float) -> Spec:
    x, y = _curve(a, b)
    back = b < a
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": x,
        "y": y,
        "line": {
            "color": "@axis",
            "width": _THIN + (_THICK - _THIN) * edge.share,
            "dash": "dot" if back else "solid",
        },
        "marker": {
            "symbol": "arrow",
            "angleref": "previous",
            # A single number would cut a gap at every point of a bend.
            "standoff": [0.0] * (len(x) - 1) + [radius],
            "size": [0.0] * (len(x) - 1) + [13.0],
            "color": "@muted",
            "opacity": 1,
        },
        "hovertemplate": label(edge.hover) + "<extra></extra>",
    }


def _words(a: int, b: int, edge: GraphEdge) -> Spec:
    return {
        "x": (a + b) / 2,
        "y": _height(b - a),
        "text": label(edge.text),
        "showarrow": False,
        "yshift": 11 if b == a + 1 else 0,
        "bgcolor": "rgba(0,0,0,0)" if b == a + 1 else "@paper",
        "font": {"size": 12, "color": "@ink"},
    }


def _below(nodes: list[GraphNode]) -> list[Spec]:
    """Return the words below the nodes."""
    return [
        {
            "type": "scatter",
            "mode": "text",
            "x": list(range(len(nodes))),
            "y": [-0.42] * len(nodes),
            "text": ["<br>".join(label(t) for t in n.below) for n in nodes],
            "textposition": "middle center",
            "textfont": {"size": 11, "color": "@ink"},
            "hoverinfo": "skip",
        }
    ]


def _circles(figure: GraphFigure, nodes: list[GraphNode], sizes: list[float]) -> Spec:
    low, high = figure.limits
    # White on the dark half of the scale, black on the light one.
    light = [n.value > low + 0.55 * (high - low) for n in nodes]
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": list(range(len(nodes))),
        "y": [0.0] * len(nodes),
        "text": [label(n.name) for n in nodes],
        "textfont": {"size": 14, "color": ["#000000" if at else "#ffffff" for at in light]},
        "customdata": [label(n.hover) for n in nodes],
        "hovertemplate": "%{customdata}<extra></extra>",
        "cliponaxis": False,
        "marker": {
            "size": sizes,
            "color": [n.value if math.isfinite(n.value) else None for n in nodes],
            "colorscale": _COLORSCALE,
            "cmin": low,
            "cmax": high,
            "opacity": 1,
            "line": {"color": "@axis", "width": 1.5},
            "showscale": True,
            "colorbar": colour_bar(figure.value_label),
        },
    }
