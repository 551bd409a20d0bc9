"""The figures of barriers against the rows they are made of."""

from __future__ import annotations

import numpy as np
import pytest
from run.tasks import noisy, points, two_forks

import wingbeat as wb
from wingbeat.metrics.basins import ERROR_THRESHOLD
from wingbeat.report.figures.barriers import barrier_figures, basin_tree, curves_between, growth
from wingbeat.report.figures.losses import replica_metrics
from wingbeat.report.pages.run import render_page


@pytest.fixture(scope="module")
def result():
    task = noisy(steps=24, batch_size=70, eval_data=points(20, 1))
    metrics = ("l2", "spread", "kl", "ensemble", "barrier", "fisher_kl")
    return wb.run(
        task, two_forks(0.5, at=12), replicas=2, record_every=12, driver="loop", metrics=metrics
    )


def chosen(result, **where):
    table = result.table
    for column, value in where.items():
        table = table[table[column] == value]
    return table


def test_growth_holds_the_barriers_to_the_reference_only(result):
    figure = growth(result)
    for line in figure.lines:
        for step, y in zip(line.x, line.y, strict=True):
            where = {"step": step, "perturbation": line.name, "a": "reference"}
            assert y == np.median(chosen(result, metric="barrier_train", **where).value)
    assert len(figure.lines) == 2


def test_curves_run_from_the_reference_to_the_replicas(result):
    figure = curves_between(result)
    for line in figure.lines:
        assert len(line.x) == 25
        assert (line.x[0], line.x[-1]) == (0.0, 1.0)
        middle = chosen(result, metric="line_loss_train", perturbation=line.name, layer="alpha=0.5")
        assert line.y[12] == np.median(middle.value)


def test_the_tree_joins_all_replicas_but_the_twin(result):
    figure = basin_tree(result)
    assert len(figure.lines) == 4
    assert "reference" in figure.names
    assert "null" not in figure.names
    highest = max(max(line.y) for line in figure.lines)
    table = chosen(result, metric="barrier_error_train", step=24)
    assert highest == pytest.approx(table.value.max())
    assert figure.guides[0].y == ERROR_THRESHOLD


def test_they_stand_on_the_page_and_not_among_the_losses(result):
    page = render_page(result)
    assert "What lies between them" in page
    for figure in barrier_figures(result):
        assert figure.key
    assert set(replica_metrics(result)) == {"kl", "ensemble_diversity"}


def test_a_result_without_barriers_has_no_such_figures():
    plain = wb.run(noisy(steps=4), wb.Gaussian(0.1), replicas=2, driver="loop")
    assert barrier_figures(plain) == ()
