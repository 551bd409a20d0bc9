"""Topology of a run's activations and weights against the same numbers made by hand."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from run.tasks import noisy, plain, points, rows, value
from torch import nn

import wingbeat as wb
from wingbeat.errors import CONSTANT, DIVERGED, TOO_FEW_POINTS, RequestError
from wingbeat.measure import metric as declared
from wingbeat.metrics.dimension import path_dimension
from wingbeat.metrics.persistence import persistence
from wingbeat.metrics.rtd import rtd_lite
from wingbeat.metrics.topology import distances, scaled_tree_length, tree_length

FIRST = "gaussian-0.3@0"
FIXED = {"replicas": 2, "record_every": 12, "driver": "loop", "dtype": torch.float64}
LAYERS = ("0", "1", "2")
GUDHI = find_spec("gudhi") is not None
"""Loops need it: pip install 'wingbeat[topology]'."""
NAMES = ("topology", "rtd_lite", *(["loops"] if GUDHI else []))


@pytest.fixture(scope="module")
def result():
    task = plain(eval_data=points(40, 1), steps=24)
    return wb.run(task, [wb.Gaussian(0.3)], metrics=NAMES, **FIXED)


@torch.no_grad()
def features(snapshot, i):
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    model.load_state_dict({k: t[i] for k, t in snapshot.params.items()})
    x, found = points(40, 1)[0].double(), {}
    for name, layer in model.named_children():
        found[name] = x = layer(x)
    return {name: x.numpy() for name, x in found.items()}


def test_rows_of_every_layer_and_replica(result):
    for step in (0, 24):
        snapshot = result.trajectory.at(step)
        first = features(snapshot, 0)
        for i, label in enumerate(snapshot.labels):
            own, where = features(snapshot, i), {"step": step, "b": label}
            total = [tree_length(own[name]) for name in LAYERS]
            for name, length in zip(LAYERS, total, strict=True):
                at = {**where, "layer": name}
                if i:
                    found = value(result, metric="rtd_lite", **at)
                    assert found == pytest.approx(rtd_lite(first[name], own[name]), abs=1e-9)
                assert value(result, metric="h0_total", **at) == pytest.approx(length)
                scaled = scaled_tree_length(own[name])
                assert value(result, metric="h0_scaled", **at) == pytest.approx(scaled)
                if not GUDHI:
                    continue
                bars = persistence(distances(own[name])).lengths(1)
                assert value(result, metric="h1_total", **at) == pytest.approx(bars.sum())
                assert value(result, metric="h1_count", **at) == len(bars)
                longest = bars.max(initial=0.0)
                assert value(result, metric="h1_longest", **at) == pytest.approx(longest)
                assert value(result, metric="covering_radius", **at) == 0.0
            ratio = value(result, metric="expansion_ratio", **where)
            assert ratio == pytest.approx(max(total) / total[0])


def test_the_twin_is_the_reference(result):
    assert (rows(result, metric="rtd_lite", b="null").value == 0).all()
    own = result.table[result.table.b.isin(["reference", "null"]) & (result.table.a == "")]
    wide = own.pivot(index=["metric", "step", "layer"], columns="b", values="value")
    assert (wide.reference == wide.null).all()


def test_the_summary_has_means_with_intervals(result):
    for name, row, layer in (
        ("final_expansion_ratio", "expansion_ratio", ""),
        ("final_h0_scaled", "h0_scaled", ""),
        ("final_rtd_lite", "rtd_lite", ""),
        *([("final_h1_total", "h1_total", "")] if GUDHI else []),
    ):
        own = rows(result, metric=row, step=24, layer=layer, perturbation=FIRST).value
        assert result.summary[f"{FIRST}/{name}"]["value"] == pytest.approx(own.mean())


def test_what_has_no_value_says_why():
    def blind():
        net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
        with torch.no_grad():
            net[0].weight.zero_()
        return net

    task = noisy(model=blind, steps=2, optimizer=lambda p: torch.optim.SGD(p, lr=0.0))
    quick = {**FIXED, "record_every": 2}
    found = wb.run(task, [wb.Gaussian(1e-3)], metrics=("topology", "rtd_lite"), **quick)
    first = rows(found, metric="expansion_ratio", b="reference")
    assert set(first.reason) == {CONSTANT}
    assert set(rows(found, metric="h0_scaled", b="reference", layer="0").reason) == {CONSTANT}
    broke = wb.run(plain(steps=2), [wb.Gaussian(1e300)], metrics=NAMES, **quick)
    own = rows(broke, step=2, perturbation="gaussian-1e+300@0")
    own = own[own.value.isna()]
    # Saturated units may give a broken model layers in which most samples coincide.
    assert DIVERGED in set(own.reason) <= {DIVERGED, CONSTANT}
    assert {"h0_scaled", "rtd_lite", *(["h1_total"] if GUDHI else [])} <= set(own.metric)


def test_a_metric_whose_package_is_missing_is_refused_before_anything_is_computed():
    @declared(
        "needs-more", needs="weights", unit="1", range=(0, 1), direction="", caption="A test",
        requires="no_such_package: pip install 'wingbeat[more]'",
    )  # fmt: skip
    def needs_more(view):
        raise AssertionError

    with pytest.raises(RequestError, match=r"needs the package no_such_package: pip install"):
        wb.run(plain(), metrics=["l2", needs_more])
    with pytest.raises(RequestError, match="no_such_package"):
        wb.run(plain(), metrics="needs-more")


def test_the_dimension_of_a_path_is_that_of_its_snapshots():
    task = plain(steps=210)
    found = wb.run(
        task, [wb.Gaussian(0.1)], metrics="path_dimension", **{**FIXED, "record_every": 1}
    )
    flat = [
        torch.cat([t[2].flatten() for t in found.trajectory.at(s).params.values()]).numpy()
        for s in found.trajectory.steps
    ]
    label = found.trajectory.labels[2]
    own = value(found, metric="path_dimension", b=label)
    assert own == pytest.approx(path_dimension(np.array(flat)).value, rel=1e-6)
    few = wb.run(plain(steps=4), [wb.Gaussian(0.1)], metrics="path_dimension", **FIXED)
    assert set(rows(few, metric="path_dimension").reason) == {TOO_FEW_POINTS}
    assert few.summary["gaussian-0.1@0/path_dimension"]["reason"] == TOO_FEW_POINTS
