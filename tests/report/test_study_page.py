"""The page of a study: nothing of the data can become markup, and every figure has its plot."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html import unescape

import pytest

from wingbeat.report.drawing.plotly.marks import study_spec
from wingbeat.report.figures.marks import Box, BoxFigure, Dot, DotFigure
from wingbeat.report.figures.records import Guide, Line, LineFigure
from wingbeat.report.figures.table import Table
from wingbeat.report.pages.finding import FindingPage, as_markdown, render_finding_page
from wingbeat.study.verdicts import Claim

NASTY = "</script><script>alert(1)</script> %{x} <b>&"
DOTS = DotFigure(
    "k",
    "title",
    "caption",
    "place",
    "value",
    (
        Dot(0, 2.0, 1.0, 4.0, "first", 0, "a"),
        Dot(1, 3.0, math.nan, math.nan, "second", 1, NASTY),
        Dot(2, math.nan, math.nan, math.nan, "second", 1, "c"),
    ),
    rows=("a", NASTY, "c"),
    guides=(Guide("one", 1.0),),
    log_value=True,
)
BOXES = BoxFigure("b", "boxes", "c", "v", (Box("g", 0, (1.0, 2.0, 9.0), ("x", "y", NASTY)),))
LINES = LineFigure("l", "lines", "c", "x", "y", (Line("n", "n", 0, (0.0, 1.0), (1.0, 2.0)),))
PAGE = FindingPage(
    title="a study",
    headline="It depends.",
    alarms=(NASTY,),
    facts=(("nets", "3", "in all"),),
    intro=("How.",),
    tables=(("nets", "Nets", Table(("net", "n"), ((NASTY, "10"),))),),
    claims=(Claim("a", "a claim", "", "1 [0 to 2]", "undetermined", NASTY, "late"),),
    sections=(("one", "One", (DOTS, BOXES)), ("two", "Two", (LINES, replace(DOTS, dots=())))),
    asked=(("seeds", "0"),),
    definitions=(("spread", "what"),),
    command="wingbeat study dynamics",
    version="0",
)


def test_data_never_become_markup() -> None:
    text = render_finding_page(PAGE)
    before = text[: text.index('<script type="application/json"')]
    assert "<script>alert" not in text
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in before
    assert "default-src 'none'" in unescape(before)
    assert not re.search(r"(src|href)=\"https?:", before)


def test_every_figure_with_values_has_a_plot() -> None:
    text = render_finding_page(PAGE)
    found = re.search(r'id="figures">(.*?)</script>', text, re.DOTALL)
    assert found
    payload = json.loads(found[1])
    assert [f["id"] for f in payload["figures"]] == ["fig-one-1", "fig-one-2", "fig-two-1"]
    for figure in payload["figures"]:
        assert f'<div class="plot" id="{figure["id"]}"' in text
    assert text.count("Nothing to draw") == 1
    assert '<a href="#one">' in text


def test_dots_by_name_run_to_the_right_with_their_intervals() -> None:
    spec = study_spec(DOTS)
    first, second, guide = spec["data"]
    assert (first["x"], first["y"]) == ([2.0], [0])
    assert (first["error_x"]["array"], first["error_x"]["arrayminus"]) == ([2.0], [1.0])
    assert second["error_x"]["array"] == [None]
    assert len(second["x"]) == 1  # the undefined value is not drawn
    assert guide["x"] == [1.0, 1.0]
    assert spec["layout"]["xaxis"]["type"] == "log"
    assert spec["layout"]["yaxis"]["tickvals"] == [0, 1, 2]
    assert first["marker"]["symbol"] != second["marker"]["symbol"]


def test_dots_by_number_run_up() -> None:
    spec = study_spec(replace(DOTS, rows=(), log_place=False))
    assert (spec["data"][0]["x"], spec["data"][0]["y"]) == ([0], [2.0])
    assert "error_y" in spec["data"][0]


def test_few_places_on_a_logarithmic_axis_are_named() -> None:
    def axis(*places: float) -> dict:
        dots = tuple(replace(DOTS.dots[0], place=place) for place in places)
        return study_spec(replace(DOTS, rows=(), log_place=True, dots=dots))["layout"]["xaxis"]

    assert axis(0.4, 0.1, 0.2, 0.1)["ticktext"] == ["0.1", "0.2", "0.4"]
    assert "tickvals" not in axis(1.0, 1.1), "their names would touch"
    assert "tickvals" not in axis(*(2.0**k for k in range(9)))
    measured = axis(0.018912, 0.18912)["tickvals"]
    assert not {0.018912, 0.18912} & set(measured), "measured numbers make no ticks"


@pytest.mark.parametrize("figure", [DOTS, BOXES, LINES])
def test_specifications_are_plain_json(figure) -> None:
    text = json.dumps(study_spec(figure), allow_nan=False)
    assert "<b>" not in text


def test_boxes_show_every_value() -> None:
    (box,) = study_spec(BOXES)["data"]
    assert box["y"] == [1.0, 2.0, 9.0]
    assert box["boxpoints"] == "all"
    assert study_spec(LINES)["data"][0]["hovertemplate"].count("epoch") == 1


def test_the_page_as_markdown_has_its_words_and_tables() -> None:
    text = as_markdown(PAGE)
    assert "| a claim (late) |  | 1 [0 to 2] | **undetermined** |" in text
    for part in ("# Study: a study", "**Read this first.** ", "| 10 |", "**spread.** what"):
        assert part in text


def test_a_long_name_of_a_row_takes_two_lines_and_a_taller_row() -> None:
    long = ("lr 0.01, hidden [64, 32], seed 2032373275", "lr 0.01, hidden [16], seed 7", "c")
    tall, low = (
        study_spec(replace(DOTS, rows=rows * 4))["layout"] for rows in (long, ("a", "b", "c"))
    )
    texts = tall["yaxis"]["ticktext"]
    assert texts[:2] == [
        "lr 0.01, hidden [64, 32],<br>seed 2032373275",
        "lr 0.01, hidden [16], seed<br>7",
    ]
    assert low["yaxis"]["ticktext"][:3] == ["a", "b", "c"]
    assert tall["height"] > low["height"]
