"""The metric "cka" of a run against the same comparison made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from run.tasks import noisy, points, rows, two_forks, value
from torch import nn

import wingbeat as wb
from wingbeat.errors import CONSTANT, DIVERGED, TOO_FEW_SAMPLES
from wingbeat.measure.builtin import cka as module
from wingbeat.measure.metric import METRICS, default_names
from wingbeat.representation import compare_layers
from wingbeat.task.step import TrainingStep

FIRST = "gaussian-0.3@0"
LAYERS = ("0", "1", "2", "4")


def ran(task, forks=None, **options):
    given = {"replicas": 2, "record_every": 12, "driver": "loop", "dtype": torch.float64}
    return wb.run(task, forks or two_forks(0.3), metrics=("cka",), **{**given, **options})


@pytest.fixture(scope="module")
def result():
    return ran(noisy(eval_data=points(30, 1)))


def replica(step, snapshot, i):
    model = step.build(0)
    model.load_state_dict({k: t[i] for k, t in {**snapshot.params, **snapshot.buffers}.items()})
    return model


def test_rows_of_every_layer_and_step(result):
    task = noisy(eval_data=points(30, 1))
    step = TrainingStep(task, torch.float64, torch.device("cpu"))
    for snapshot in result.trajectory:
        reference = replica(step, snapshot, 0)
        for i, label in enumerate(snapshot.labels[1:], start=1):
            other = replica(step, snapshot, i)
            expected = compare_layers(task, reference, other, batch_size=30)
            where = {"step": snapshot.step, "a": "reference", "b": label}
            for j, name in enumerate(LAYERS):
                own = expected.cka[j, j]
                assert value(result, metric="cka", layer=name, **where) == pytest.approx(own)
                angle = value(result, metric="angular_cka", layer=name, **where)
                assert angle == pytest.approx(np.arccos(own), abs=1e-6)
            whole = value(result, metric="angular_cka", layer="", **where)
            assert whole == pytest.approx(np.diag(expected.angles).mean(), abs=1e-6)


def test_the_twin_has_angle_zero_and_the_summary_the_mean(result):
    assert (rows(result, metric="angular_cka", b="null").value == 0).all()
    last = rows(result, metric="angular_cka", step=24, layer="", perturbation=FIRST)
    entry = result.summary[f"{FIRST}/final_angular_cka"]
    assert entry["value"] == pytest.approx(last.value.mean())
    assert set(METRICS.find("cka").rows) <= set(result.table.metric)
    assert "cka" not in default_names()


def test_the_same_request_gives_the_same_bits():
    first, again = (ran(noisy(steps=6), [wb.Gaussian(0.3)]) for _ in range(2))
    assert again.table.equals(first.table)


def test_without_evaluation_data_the_training_data_serve():
    found = ran(noisy(steps=4, eval_data=None), [wb.Gaussian(0.1)])
    assert np.isfinite(rows(found, metric="cka").value).all()


def test_what_has_no_value_says_why():
    def half_dead():
        net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
        with torch.no_grad():
            net[0].bias.fill_(-1e9)
        return net

    found = ran(noisy(model=half_dead, steps=4), [wb.Gaussian(1e-3)])
    assert set(rows(found, metric="cka", layer="1").reason) == {CONSTANT}
    assert (rows(found, metric="cka", layer="0").reason == "").all()
    few = ran(noisy(steps=4, eval_data=points(3, 1)), [wb.Gaussian(1e-3)])
    assert set(rows(few, metric="angular_cka").reason) == {TOO_FEW_SAMPLES}
    assert few.summary["gaussian-0.001@0/final_angular_cka"]["reason"]


def test_a_replica_that_broke_down_has_none():
    found = ran(noisy(steps=4), [wb.Gaussian(1e300)])
    own = rows(found, metric="cka", perturbation="gaussian-1e+300@0", step=4)
    assert set(own.reason) == {DIVERGED}


def test_minibatches_are_equal_and_at_most_so_large(monkeypatch, result):
    monkeypatch.setattr(module, "MINIBATCH", 12)
    found = ran(noisy(steps=4, eval_data=points(30, 1)), [wb.Gaussian(0.1)])
    assert np.isfinite(rows(found, metric="cka").value).all()
