from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from matplotlib.figure import Figure as Canvas
from report_cases import FakeResult, full, perturbation, table

from wingbeat.errors import RequestError
from wingbeat.report import (
    plot_distance,
    plot_layers,
    plot_local_lyapunov,
    plot_losses,
    plot_spread,
    plot_trajectories,
)
from wingbeat.report.drawing.matplotlib import draw
from wingbeat.report.drawing.plotly.curves import spec
from wingbeat.report.drawing.plotly.parts import label, shortened, theme_colours
from wingbeat.report.figures.curves import distance, local_lyapunov, projected_ratio, spread_figure
from wingbeat.report.figures.losses import losses
from wingbeat.report.figures.maps import layers, trajectories
from wingbeat.report.figures.records import Figure, HeatFigure, LineFigure, PathFigure

HOSTILE = '_$x$ <b onmouseover="x">&amp; %{x}</b> ñ'
RESULT = full(replicas=3)


def resolve(value: Any, colours: Mapping[str, str]) -> Any:
    """Return a copy of a specification with its colour tokens replaced, as the page does."""
    if isinstance(value, dict):
        return {k: resolve(v, colours) for k, v in value.items()}
    if isinstance(value, list):
        return [resolve(v, colours) for v in value]
    return colours.get(value, value) if isinstance(value, str) else value


def figures(result: FakeResult) -> list[Figure]:
    found = [
        spread_figure(result),
        distance(result),
        local_lyapunov(result),
        losses(result),
        projected_ratio(result),
        trajectories(result),
        trajectories(result, (0, 1, 2)),
        layers(result),
    ]
    return [f for f in found if f is not None]


def axes(figure: Figure) -> Any:
    three = isinstance(figure, PathFigure) and len(figure.axes) == 3
    return Canvas().add_subplot(projection="3d") if three else Canvas().add_subplot()


@pytest.mark.parametrize("figure", figures(RESULT), ids=lambda f: f.key)
def test_plotly_accepts_every_specification_in_both_themes(figure: Figure) -> None:
    if figure.key == "trajectories_3d":  # for matplotlib alone
        with pytest.raises(RequestError, match="three-dimensional axes"):
            spec(figure)
        return
    for theme in ("light", "dark"):
        resolved = resolve(spec(figure), theme_colours(theme))
        assert "@" not in str([t.get("line") for t in resolved["data"]])
        go.Figure(resolved)


@pytest.mark.parametrize(
    "figure", [f for f in figures(RESULT) if isinstance(f, LineFigure)], ids=lambda f: f.key
)
def test_both_drawers_get_the_numbers_of_the_record(figure: LineFigure) -> None:
    traces = [t for t in spec(figure)["data"] if t.get("hoverinfo") != "skip"]
    drawn = draw(figure, axes(figure)).get_lines()
    for line, trace, artist in zip(figure.lines, traces, drawn, strict=False):
        assert tuple(trace["x"]) == line.x
        assert tuple(trace["y"]) == line.y
        assert tuple(artist.get_xdata(orig=True)) == line.x
        assert tuple(artist.get_ydata(orig=True)) == line.y
    assert len(traces) == len(figure.lines)
    assert len(drawn) == len(figure.lines) + len(figure.guides)


def test_both_drawers_get_the_coordinates_of_the_paths() -> None:
    figure = trajectories(RESULT)
    assert figure is not None
    drawn = draw(figure, axes(figure)).get_lines()[::3]
    for path, trace, artist in zip(figure.paths, spec(figure)["data"], drawn, strict=True):
        assert (tuple(trace["x"]), tuple(trace["y"])) == path.coordinates
        assert tuple(artist.get_xdata(orig=True)) == path.coordinates[0]
        assert trace["customdata"] == list(path.steps)
    deep = trajectories(RESULT, (0, 1, 2))
    assert deep is not None
    line = draw(deep, axes(deep)).get_lines()[0]
    assert tuple(line.get_data_3d()[2]) == deep.paths[0].coordinates[2]


def test_both_drawers_get_the_cells_of_the_map() -> None:
    figure = layers(RESULT)
    assert isinstance(figure, HeatFigure)
    where = draw(figure, axes(figure))
    cells = where.collections[0].get_array()
    assert cells is not None
    np.testing.assert_array_equal(np.ma.filled(cells, np.nan), np.array(figure.values))
    assert [list(row) for row in figure.values] == spec(figure)["data"][0]["z"]
    assert where.yaxis_inverted()


def test_a_gap_stays_a_gap() -> None:
    rows = [
        ["l2", s, "g@0", "reference", f"g@0#{i}", "", v, ""]
        for i in (1, 2)
        for s, v in ((0, 1.0), (1, 2.0), (2, None), (3, 2.0), (4, 5.0))
    ]
    figure = distance(FakeResult(table(rows), perturbations=(perturbation("g@0"),)))
    assert figure is not None
    drawn = spec(figure)["data"]
    assert drawn[-1]["y"] == [1.0, 2.0, None, 2.0, 5.0]
    assert not drawn[-1]["connectgaps"]
    assert [t["x"] for t in drawn if t.get("fill")] == [[0, 1, 1, 0], [3, 4, 4, 3]]
    assert math.isnan(draw(figure, axes(figure)).get_lines()[0].get_ydata()[2])  # type: ignore[index]


def test_the_noise_floor_is_drawn_or_written() -> None:
    zero, above = spread_figure(RESULT), spread_figure(RESULT.but(noise_floor=0.5))
    assert zero is not None
    assert above is not None
    assert spec(zero)["layout"]["annotations"][0]["text"] == "noise floor: exactly 0"
    assert "noise floor: exactly 0" in [t.get_text() for t in draw(zero, axes(zero)).texts]
    assert spec(above)["data"][-1]["y"] == [0.5, 0.5]
    where = draw(above, axes(above))
    assert list(where.get_lines()[-1].get_ydata()) == [0.5, 0.5]
    legend = where.get_legend()
    assert legend is not None
    assert "noise floor: 0.5" in [t.get_text() for t in legend.get_texts()]


def test_lines_differ_without_colour() -> None:
    figure = spread_figure(full(names=tuple(f"g{i}@0" for i in range(12)), replicas=2))
    assert figure is not None
    looks = {(t["line"]["dash"], t["marker"]["symbol"]) for t in spec(figure)["data"]}
    assert len(looks) == 12


@pytest.mark.parametrize("result", [full(names=(HOSTILE,), replicas=2)], ids=["hostile"])
def test_hostile_names_are_shown_as_they_are(result: FakeResult) -> None:
    for figure in figures(result):
        where = draw(figure, axes(figure))
        assert where.figure is not None
        where.figure.canvas.draw()
        if figure.key == "trajectories_3d":
            continue
        text = str(resolve(spec(figure), {}))
        assert "<b " not in text
        assert "%{x}<" not in text
    legend = draw(figures(result)[0], axes(figures(result)[0])).get_legend()
    assert legend is not None
    assert legend.get_texts()[0].get_text().replace(r"\$", "$").strip() == HOSTILE


def test_text_for_plotly_and_tick_labels() -> None:
    assert label("<a href='x'>&") == "&lt;a href='x'&gt;&amp;"
    assert shortened("x" * 26) == "x" * 26
    assert len(shortened("y" * 99, 20)) == 21


@pytest.mark.parametrize(
    "plot",
    [plot_spread, plot_distance, plot_local_lyapunov, plot_trajectories, plot_losses, plot_layers],
)
def test_plots_use_the_axes_they_are_given_and_say_what_is_missing(plot: Any) -> None:
    where = Canvas().add_subplot()
    assert plot(RESULT, ax=where) is where
    assert where.get_title(loc="left")
    with pytest.raises(RequestError, match="metrics"):
        plot(FakeResult(table([]), perturbations=(perturbation("g"),)), ax=where)


def test_plots_refuse_what_cannot_be_drawn() -> None:
    flat = Canvas().add_subplot()
    with pytest.raises(RequestError, match="two or three"):
        plot_trajectories(RESULT, ax=flat, components=(1, 1))
    with pytest.raises(RequestError, match="3d"):
        plot_trajectories(RESULT, ax=flat, components=(0, 1, 2))
    with pytest.raises(RequestError, match="did you mean 'accuracy'"):
        plot_losses(RESULT, ax=flat, metric="acuracy")


@pytest.mark.slow
def test_pyplot_is_not_loaded_for_a_given_axes() -> None:
    code = (
        "import sys\n"
        "from matplotlib.figure import Figure\n"
        "from report_cases import full\n"
        "from wingbeat.report import plot_spread, plot_layers\n"
        "plot_spread(full(replicas=2), ax=Figure().add_subplot())\n"
        "plot_layers(full(replicas=2), ax=Figure().add_subplot())\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    where = __file__.rpartition("/")[0]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=where)
