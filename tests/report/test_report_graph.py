"""A graph of states as it is drawn: who stands where, which way bends, what is written."""

from __future__ import annotations

import math

import pytest

from wingbeat.report.drawing.any_figure import drawn
from wingbeat.report.drawing.plotly.graph import graph_spec
from wingbeat.report.figures.graph import GraphEdge, GraphFigure, GraphNode


def node(name, x, share=1.0, value=0.5):
    return GraphNode(name, (f"{share:.0%}", "acc <1>"), x, share, value, f"state {name}")


def figure(edges=(), nodes=None):
    nodes = nodes or (node("a", 0.0), node("c", 90.0, 0.5, 0.9), node("b", 30.0, 0.2, 0.1))
    return GraphFigure("k", "t", "c", "step", "accuracy", (0.0, 1.0), nodes, tuple(edges))


def test_nodes_stand_by_when_they_occur_and_are_as_large_as_many_come_by():
    spec = graph_spec(figure())
    circles = spec["data"][-1]
    assert circles["text"] == ["a", "b", "c"]
    assert spec["layout"]["xaxis"]["ticktext"] == ["0", "30", "90"]
    large, small, middle = circles["marker"]["size"]
    assert large > middle > small
    assert circles["marker"]["color"] == [0.5, 0.1, 0.9]
    assert circles["textfont"]["color"] == ["#ffffff", "#ffffff", "#000000"]
    assert spec["data"][-2]["text"][1] == "20%<br>acc &lt;1&gt;"


@pytest.mark.parametrize(
    ("ends", "sign", "dash"), [((0, 2), 0, "solid"), ((0, 1), 1, "solid"), ((1, 0), -1, "dot")]
)
def test_a_way_bends_by_where_it_leads(ends, sign, dash):
    """Node 1 of the list stands last: from 0 to it the way skips one, above; back below."""
    way = graph_spec(figure([GraphEdge(*ends, 0.4, "12", "a way")]))["data"][0]
    middle = way["y"][len(way["y"]) // 2]
    assert math.copysign(1, middle) == sign if sign else middle == 0.0
    assert way["line"]["dash"] == dash
    sizes, gaps = way["marker"]["size"], way["marker"]["standoff"]
    assert (sizes[-1] > 0, set(sizes[:-1])) == (True, {0.0})
    assert (gaps[-1] > 0, set(gaps[:-1])) == (True, {0.0})
    assert way["y"][0] == way["y"][-1] == 0.0


def test_thickness_and_words_of_a_way_are_those_of_its_share():
    spec = graph_spec(figure([GraphEdge(0, 2, 0.1, "3", "x"), GraphEdge(2, 1, 0.9, "27", "y")]))
    thin, thick = (trace["line"]["width"] for trace in spec["data"][:2])
    assert thin < thick
    assert [a["text"] for a in spec["layout"]["annotations"]] == ["3", "27"]
    assert [a["x"] for a in spec["layout"]["annotations"]] == [0.5, 1.5]
    assert all(low < a["y"] < high for a in spec["layout"]["annotations"]
               for low, high in [spec["layout"]["yaxis"]["range"]])  # fmt: skip


def test_a_page_shows_a_graph_without_a_key_and_nothing_of_nothing():
    shown = drawn(figure(), "map")
    assert shown.key == ()
    assert len(shown.panels) == 1
    assert drawn(figure(nodes=(node("a", math.nan, value=math.nan),)), "map").panels == ()
