"""What single papers look at, in a run, against the same numbers made by hand with PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from run.tasks import noisy, points, rows, value
from torch import nn

import wingbeat as wb
from wingbeat.errors import (
    CONSTANT,
    DIVERGED,
    NO_ACTIVATIONS,
    NO_CLASSIFIER,
    NO_HELD_OUT,
    NO_PREDICTIONS,
    TOO_FEW_POINTS,
)
from wingbeat.metrics.cka import cka
from wingbeat.metrics.collapse import neural_collapse
from wingbeat.metrics.mmd import feature_gap

NAMES = (
    "drift", "activation_flips", "feature_gap", "neural_collapse", "unit_cosine", "sign_flips",
)  # fmt: skip
FIRST = "gaussian-0.3@0"
FIXED = {"replicas": 2, "record_every": 12, "driver": "loop", "dtype": torch.float64}


def net():
    return nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.2), nn.Linear(6, 3)
    )


def task(**changes):
    return noisy(model=net, eval_data=points(50, 1), **changes)


@pytest.fixture(scope="module")
def result():
    forks = [wb.Gaussian(0.3), wb.Gaussian(0.2, at=12)]
    return wb.run(task(), forks, metrics=NAMES, **FIXED)


def models(snapshot):
    for i in range(len(snapshot.labels)):
        model = net().double().eval()
        model.load_state_dict({k: t[i] for k, t in {**snapshot.params, **snapshot.buffers}.items()})
        yield model


@torch.no_grad()
def hidden(model, data, upto):
    return model[:upto](data[0].double()).numpy()


def test_rows_are_those_made_by_hand(result):
    held, seen = points(50, 1), points()
    first = dict(zip(result.trajectory.at(0).labels, models(result.trajectory.at(0)), strict=True))
    last = result.trajectory.at(24)
    made = list(models(last))
    w = [np.asarray(m[0].weight.detach()) for m in made]
    for i, label in enumerate(last.labels):
        own = {"step": 24, "b": label}
        x = hidden(made[i], held, 3)
        gap = feature_gap(hidden(made[i], seen, 3), x).value
        assert value(result, metric="feature_gap", layer="2", **own) == pytest.approx(gap)
        last_features = hidden(made[i], seen, 4)
        found = neural_collapse(last_features, seen[1].numpy(), made[i][4].weight.detach().numpy())
        for name in ("nc1", "nc2_norm", "nc2_angle", "nc3"):
            assert value(result, metric=name, **own) == pytest.approx(getattr(found, name))
        assert value(result, metric="units_dead", layer="2", **own) == np.mean((x <= 0).all(0))
        if label in first:
            then = hidden(first[label], held, 3)
            drifted = value(result, metric="kernel_drift", layer="2", **own)
            assert drifted == pytest.approx(1 - cka(x, then), abs=1e-12)
            kept = [u for u in range(6) if np.ptp(x[:, u]) and np.ptp(then[:, u])]
            cos = [np.corrcoef(x[:, u], then[:, u])[0, 1] for u in kept]
            turned = value(result, metric="unit_drift", layer="2", **own)
            assert turned == pytest.approx(1 - np.mean(cos), abs=1e-12)
        if i:
            against = {"step": 24, "a": "reference", "b": label}
            share = np.mean((x > 0) != (hidden(made[0], held, 3) > 0))
            assert value(result, metric="activation_flips", layer="2", **against) == share
            cosine = (w[i] * w[0]).sum(1) / np.linalg.norm(w[i], axis=1)
            cosine /= np.linalg.norm(w[0], axis=1)
            found = value(result, metric="unit_cosine", layer="0.weight", **against)
            assert found == pytest.approx(cosine.mean())
            apart = value(result, metric="sign_disagreement", layer="0.weight", **against)
            assert apart == np.mean(w[i] * w[0] < 0)


def test_the_twin_is_the_reference_in_all_of_them(result):
    zero = {"activation_flips", "sign_disagreement"}
    one = {"unit_cosine", "unit_cosine_low", "units_purified"}
    table = result.table
    against = table[(table.b == "null") & (table.a == "reference")]
    assert zero | one <= set(against.metric)
    assert (against[against.metric.isin(zero)].value == 0).all()
    assert (against[against.metric.isin(one)].value == 1).all()
    own = table[table.b.isin(["reference", "null"]) & (table.a == "")]
    wide = own.pivot(index=["metric", "step", "layer"], columns="b", values="value")
    same = (wide.reference == wide.null) | (wide.reference.isna() & wide.null.isna())
    assert same.all()
    assert {"unit_drift", "nc1", "feature_gap", "sign_flips"} <= set(own.metric)


def test_the_start_is_no_drift_and_later_forks_count_from_their_own(result):
    for name in ("unit_drift", "kernel_drift", "unit_drift_step", "drift_loss_change"):
        assert (rows(result, metric=name, step=0).value == 0).all()
        own = rows(result, metric=name, step=12, perturbation="gaussian-0.2@12")
        assert len(own)
        assert (own.value == 0).all()
    assert (rows(result, metric="unit_cosine_start", step=0).value == 1).all()
    since = rows(result, metric="unit_drift", step=24, layer="", b="reference").value.iloc[0]
    step = rows(result, metric="unit_drift_step", step=24, layer="", b="reference").value.iloc[0]
    assert 0 < step < since


def test_the_summary_has_means_with_intervals(result):
    last = rows(result, metric="nc1", step=24, perturbation=FIRST)
    entry = result.summary[f"{FIRST}/final_nc1"]
    assert entry["value"] == pytest.approx(last.value.mean())
    assert {f"{FIRST}/final_{n}" for n in ("unit_drift", "sign_flips", "feature_gap")} <= set(
        result.summary
    )
    assert result.summary[f"{FIRST}/final_unit_cosine"]["value"] < 1


@pytest.mark.parametrize(
    ("changes", "metric", "row", "reason"),
    [
        ({"eval_data": None}, "feature_gap", "feature_gap", NO_HELD_OUT),
        ({"model": lambda: nn.Linear(4, 3)}, "activation_flips", "units_dead", NO_ACTIVATIONS),
        (
            {"model": lambda: nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(1))},
            "neural_collapse",
            "nc1",
            "",
        ),
        (
            {"model": lambda: nn.Sequential(nn.Linear(4, 6), nn.Unflatten(1, (3, 2)), nn.Flatten(2),
                                            nn.AvgPool1d(2), nn.Flatten())},
            "neural_collapse",
            "nc1",
            NO_CLASSIFIER,
        ),
        ({"loss": lambda m, b: (m(b[0]) ** 2).mean(), "targets": lambda b: None},
         "neural_collapse", "nc1", NO_PREDICTIONS),
    ],
)  # fmt: skip
def test_what_has_no_value_says_why(changes, metric, row, reason):
    given = noisy(**{"steps": 4, **changes})
    found = wb.run(given, [wb.Gaussian(0.1)], metrics=(metric,), **{**FIXED, "record_every": 2})
    assert set(rows(found, metric=row).reason) == {reason}
    assert np.isfinite(rows(found, metric=row).value).all() == (reason == "")


def test_dead_layers_and_broken_replicas():
    def half_dead():
        made = net()
        with torch.no_grad():
            made[1].bias.fill_(-1e9)
        return made

    quick = {**FIXED, "record_every": 2}
    found = wb.run(noisy(model=half_dead, steps=4), [wb.Gaussian(1e-3)], metrics=NAMES, **quick)
    assert set(rows(found, metric="unit_drift", layer="2").reason) == {CONSTANT}
    assert set(rows(found, metric="units_dead", layer="2").value) == {1.0}
    assert set(rows(found, metric="nc1").reason) == {CONSTANT}
    broke = wb.run(task(steps=4), [wb.Gaussian(1e300)], metrics=NAMES, **quick)
    own = rows(broke, step=4, perturbation="gaussian-1e+300@0")
    # Of a finite but huge model a layer may really be dead.
    assert DIVERGED in set(own.reason[own.value.isna()]) <= {DIVERGED, CONSTANT}
    assert (own.reason[own.value.notna()] == "").all()
    assert (rows(broke, step=4, b="null").reason == "").all()


def test_displacements_are_those_of_features_made_by_hand():
    options = {**FIXED, "record_every": 4}
    found = wb.run(task(steps=40), [wb.Gaussian(0.3)], metrics="displacement", **options)
    steps, held = list(range(20, 41, 4)), points(50, 1)
    every = [[hidden(m, held, 3) for m in models(found.trajectory.at(s))] for s in steps]
    own = {"layer": "2"}
    for place, label in enumerate(found.trajectory.labels):
        x = [of[place] - of[place].mean(axis=0) for of in every]
        unit = np.mean([(a**2).mean() for a in x])
        for i, step in enumerate(steps):
            apart = ((x[i] - x[0]) ** 2).mean() / unit
            at = {"step": step, "b": label, **own}
            assert value(found, metric="displacement", **at) == pytest.approx(apart, abs=1e-12)
        lags = range(1, 6)
        means = [np.mean([((x[t + k] - x[t]) ** 2).mean() for t in range(6 - k)]) for k in lags]
        slope = np.polyfit(np.log(lags), np.log(means), 1)[0]
        last = value(found, metric="displacement_slope", step=40, b=label, **own)
        assert last == pytest.approx(slope, abs=1e-9)
    table = rows(found, metric="displacement")
    twins = [table[table.b == b].value.to_numpy() for b in ("reference", "null")]
    assert (twins[0] == twins[1]).all()
    whole = rows(found, metric="displacement_slope", layer="", perturbation=FIRST)
    entry = found.summary[f"{FIRST}/displacement_slope"]
    assert entry["value"] == pytest.approx(whole.value.mean())
    few = wb.run(task(steps=8), [wb.Gaussian(0.3)], metrics="displacement", **options)
    assert set(rows(few, metric="displacement_slope").reason) == {TOO_FEW_POINTS}
    late = wb.run(task(steps=40), [wb.Gaussian(0.3, at=28)], metrics="displacement", **options)
    assert set(rows(late, metric="displacement").step) == {28, 32, 36, 40}


def test_a_copy_that_forks_in_the_window_has_no_displacement_before():
    forks = [wb.Gaussian(0.3), wb.Gaussian(0.2, at=28)]
    options = {**FIXED, "record_every": 4, "replicas": 1}
    found = wb.run(task(steps=40), forks, metrics="displacement", **options)
    own = rows(found, metric="displacement", perturbation="gaussian-0.2@28", layer="2")
    assert list(own.step) == [28, 32, 36, 40]
    assert own.value.iloc[0] == 0
    assert (own.value.iloc[1:] > 0).all()
    slope = rows(found, metric="displacement_slope", perturbation="gaussian-0.2@28", layer="2")
    assert set(slope.reason) == {TOO_FEW_POINTS}
    assert np.isfinite(value(found, metric="displacement_slope", b="reference", layer="2"))
