"""The unperturbed twin in every metric of the four families, with forks that come later: exact."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
from run.tasks import noisy, points, rows
from torch import nn

import wingbeat as wb
from wingbeat.measure.metric import METRICS

NAMES = (
    "topology", "loops", "rtd_lite", "path_dimension", "kernel", "local_elasticity", "drift",
    "displacement", "activation_flips", "feature_gap", "neural_collapse", "unit_cosine",
    "sign_flips", "weight_statistics",
)  # fmt: skip


def net():
    return nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.2), nn.Linear(6, 3)
    )


def test_the_twin_is_the_reference_to_the_bit():
    """In float32, with dropout and batch normalisation in the net."""
    needs = {name: METRICS.find(name).requires for name in NAMES}
    there = [name for name, lib in needs.items() if not lib or find_spec(lib.split(":")[0])]
    task = noisy(model=net, eval_data=points(40, 1), steps=20)
    forks = [wb.Gaussian(0.3), wb.Gaussian(0.2, at=8)]
    result = wb.run(task, forks, replicas=1, record_every=2, driver="lockstep", metrics=there)
    table = result.table[result.table.b.isin(["reference", "null"])]
    own = table[table.a == ""]
    wide = own.pivot(index=["metric", "step", "layer"], columns="b", values="value")
    assert len(wide) > 100
    assert np.array_equal(wide.reference.to_numpy(), wide.null.to_numpy(), equal_nan=True)
    apart = table[(table.a == "reference") & (table.b == "null")]
    for metric, values in apart.groupby("metric")["value"]:
        same = 1.0 if metric in METRICS.find("unit_cosine").rows else 0.0
        defined = values.dropna()
        assert (defined == same).all(), metric
        assert len(defined), metric
    copies = rows(result, metric="kernel_distance", layer="", step=20, a="reference")
    assert (copies[copies.b != "null"].value > 0).all()
