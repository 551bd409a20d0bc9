"""Figures of alignment, ensembles, time against size: their numbers against the rows."""

from __future__ import annotations

import numpy as np
import pytest
from run.tasks import noisy, points

import wingbeat as wb
from wingbeat.report.drawing.any_figure import drawn
from wingbeat.report.drawing.plotly.cells import cell_map_spec
from wingbeat.report.drawing.plotly.curves import spec
from wingbeat.report.drawing.plotly.marks import study_spec
from wingbeat.report.figures.alignment import aligned_curves, aligned_distance, alignment_figures
from wingbeat.report.figures.ensembles import gain_against_diversity
from wingbeat.report.figures.sensitivity import barrier_map, growth_with_size
from wingbeat.report.pages.run import render_page

METRICS = ("l2", "ensemble", "barrier", "l2_aligned", "barrier_aligned")
FORKS = [wb.Gaussian(scale, at=at) for at in (0, 6) for scale in (0.1, 1.0)]


@pytest.fixture(scope="module")
def result():
    task = noisy(steps=12, eval_data=points(20, 1))
    return wb.run(task, FORKS, replicas=3, record_every=6, driver="loop", metrics=METRICS)


def values(result, **where):
    table = result.table
    for column, value in where.items():
        table = table[table[column] == value]
    return table["value"].to_numpy()


def test_distance_as_it_is_and_aligned(result):
    figure = aligned_distance(result)
    assert len(figure.lines) == 2 * len(FORKS)
    for line in figure.lines:
        name, words = line.name.rsplit(", ", 1)
        metric = "l2_aligned" if words == "aligned" else "l2"
        for step, y, low, high in zip(line.x, line.y, line.low, line.high, strict=True):
            own = values(result, metric=metric, perturbation=name, step=step, layer="")
            assert (y, low, high) == (np.median(own), own.min(), own.max())
    assert "(weight units)" in figure.y_label
    assert "Noise floor: exactly 0" in figure.caption
    assert "% of the units stay" in figure.caption
    final = result.summary["gaussian-0.1@0/final_l2_aligned"]["value"]
    assert f"aligned {final:.3g}".rstrip("0") in figure.title


def test_curves_as_they_are_and_aligned(result):
    figure = aligned_curves(result)
    assert len(figure.lines) == 2 * len(FORKS)
    for line in figure.lines:
        name, words = line.name.rsplit(", ", 1)
        metric = "line_aligned_loss_train" if words == "aligned" else "line_loss_train"
        middle = values(result, metric=metric, perturbation=name, layer="alpha=0.5")
        assert line.y[12] == np.median(middle)
    trace = spec(figure)["data"][-1]
    assert "α %{x}" in trace["hovertemplate"], "the axis, not a step"


def test_time_against_size_holds_the_final_barriers(result):
    figure = barrier_map(result)
    assert (figure.columns, figure.rows) == (("0", "6"), ("0.1", "1"))
    for r, size in enumerate(("0.1", "1.0")):
        for c, at in enumerate((0, 6)):
            entry = result.summary[f"gaussian-{float(size):g}@{at}/final_barrier_train"]
            assert figure.values[r][c] == entry["value"]
            assert " [" in figure.hovers[r][c], "three replicas give an interval"
    assert cell_map_spec(figure)["data"][0]["z"][1][0] == figure.values[1][0]


def test_growth_stands_over_the_norm_that_was_added(result):
    barrier, distance = growth_with_size(result)
    for figure, key in ((barrier, "final_barrier_train"), (distance, "final_l2")):
        assert len(figure.dots) == len(FORKS)
        for dot, asked in zip(figure.dots, result.perturbations, strict=True):
            entry = result.summary[f"{asked['name']}/{key}"]
            assert (dot.value, dot.low, dot.high) == (entry["value"], entry["low"], entry["high"])
            assert dot.place == pytest.approx(np.mean(asked["realised"]["l2"]))
    assert study_spec(distance)["layout"]["yaxis"]["type"] == "log"


def test_gain_against_diversity_step_by_step(result):
    figure = gain_against_diversity(result)
    assert len(figure.dots) == 2 * 3 + 2 * 2
    last = [d for d in figure.dots if "step 12" in d.hover and d.group == "gaussian-1@0"]
    where = {"perturbation": "gaussian-1@0", "step": 12}
    assert last[0].value == values(result, metric="ensemble_loss_gain", **where)[0]
    apart = values(result, metric="ensemble_diversity", **where)
    assert last[0].place == pytest.approx(apart.mean())
    assert len(drawn(figure, "x").key) == len(FORKS)


def test_they_stand_on_the_page(result):
    page = render_page(result)
    for words in (
        "With units permuted onto each other",
        "by time and size of the nudge",
        "Does it pay to average",
    ):
        assert words in page


def test_a_run_without_them_has_no_such_figures():
    plain = wb.run(noisy(steps=4), wb.Gaussian(0.1), replicas=2, driver="loop")
    assert alignment_figures(plain) == ()
    assert barrier_map(plain) is None
    assert growth_with_size(plain) == ()
    assert gain_against_diversity(plain) is None
