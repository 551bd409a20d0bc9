"""The figures of representations against the rows they are made of."""

from __future__ import annotations

import numpy as np
import pytest
from run.tasks import noisy, points, rows, two_forks

import wingbeat as wb
from wingbeat.report.figures.losses import replica_metrics
from wingbeat.report.figures.representations import by_layer, over_training, representation_figures
from wingbeat.report.pages.run import render_page


@pytest.fixture(scope="module")
def result():
    task = noisy(steps=24, batch_size=70, eval_data=points(20, 1))
    metrics = ("l2", "spread", "cka")
    return wb.run(
        task, two_forks(0.5, at=12), replicas=2, record_every=12, driver="loop", metrics=metrics
    )


def test_layers_stand_in_the_order_of_the_model(result):
    figure = by_layer(result)
    assert figure.names == ("0", "1", "2", "4")
    for line in figure.lines:
        assert line.x == (0.0, 1.0, 2.0, 3.0)
        for layer, y in zip(("0", "1", "2", "4"), line.y, strict=True):
            where = {"metric": "angular_cka", "step": 24, "layer": layer}
            assert y == np.median(rows(result, perturbation=line.name, **where).value)


def test_the_mean_over_layers_over_training(result):
    for line in over_training(result).lines:
        for step, y in zip(line.x, line.y, strict=True):
            where = {"metric": "angular_cka", "step": step, "layer": ""}
            assert y == np.median(rows(result, perturbation=line.name, **where).value)


def test_they_stand_on_the_page_and_not_among_the_losses(result):
    assert "What they represent" in render_page(result)
    assert len(representation_figures(result)) == 2
    assert not {"cka", "angular_cka"} & set(replica_metrics(result))


def test_a_result_without_cka_has_no_such_figures():
    plain = wb.run(noisy(steps=4), wb.Gaussian(0.1), replicas=2, driver="loop")
    assert representation_figures(plain) == ()
