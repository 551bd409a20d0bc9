"""Tangent kernels of a run against kernels made by hand, and what has none."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from run.tasks import noisy, points, rows, value
from torch import nn

import wingbeat as wb
from wingbeat.curvature.tangent import TangentKernel
from wingbeat.errors import CONSTANT, DIVERGED, NO_PREDICTIONS, NOT_REACHED
from wingbeat.measure.builtin.kernel import _settled
from wingbeat.measure.tangent_kernels import RunKernels
from wingbeat.metrics.kernel import alignment, effective_rank, kernel_distance, local_elasticity

NAMES = ("kernel", "local_elasticity")
FIRST = "gaussian-0.3@0"
FIXED = {"replicas": 2, "record_every": 8, "driver": "loop", "dtype": torch.float64}


@pytest.fixture(scope="module")
def result():
    forks = [wb.Gaussian(0.3), wb.Gaussian(0.2, at=16)]
    return wb.run(noisy(steps=40), forks, metrics=NAMES, **FIXED)


def test_rows_are_those_made_by_hand(result):
    kernel = TangentKernel(noisy(steps=40), None)
    steps = sorted(set(rows(result, metric="kernel_distance").step))
    assert steps[0] == 0
    assert steps[-1] == 40
    made = {s: kernel.gram(result.trajectory.at(s)) for s in steps}
    start = made[0]
    labels = points()[1].numpy()
    for i, label in enumerate(result.trajectory.at(40).labels):
        own, k = {"step": 40, "b": label, "layer": ""}, made[40][i]
        if i:
            found = value(result, metric="kernel_distance", a="reference", **own)
            assert found == pytest.approx(kernel_distance(k, made[40][0]), abs=1e-12)
        if i < len(start):
            found = value(result, metric="kernel_from_start", **own)
            assert found == pytest.approx(kernel_distance(k, start[i]))
            ratio = np.linalg.norm(k) / np.linalg.norm(start[i])
            assert value(result, metric="kernel_norm_ratio", **own) == pytest.approx(ratio)
        assert value(result, metric="kernel_rank", **own) == pytest.approx(effective_rank(k))
        fit = alignment(k, labels)
        assert value(result, metric="kernel_alignment", **own) == pytest.approx(fit)
        ratio = local_elasticity(k, labels).ratio
        assert value(result, metric="local_elasticity", **own) == pytest.approx(ratio)
        last = value(result, metric="kernel_motion", **own)
        assert last == pytest.approx(kernel_distance(k, made[steps[-2]][i]))


def test_rows_of_tensors_are_those_of_their_gradients(result):
    """A backward pass for each sample and output, and only the gradients of the tensor."""
    task, steps = noisy(steps=40), sorted(set(rows(result, metric="kernel_distance").step))
    x = points()[0].double()

    @cache
    def parts(step, place):
        model, snapshot = task.model().double().eval(), result.trajectory.at(step)
        tensors = {k: t[place] for k, t in {**snapshot.params, **snapshot.buffers}.items()}
        model.load_state_dict(tensors)
        out, own = model(x), dict(model.named_parameters())
        every = [torch.autograd.grad(o, list(own.values()), retain_graph=True)
                 for o in out.flatten()]  # fmt: skip
        stacks = [torch.stack(g).reshape(*out.shape, -1) for g in zip(*every, strict=True)]
        grams = [torch.einsum("nkp,mkp->nm", j, j).numpy() / out.shape[1] for j in stacks]
        return dict(zip(own, grams, strict=True))

    def part(step, place, name):
        return parts(step, place)[name]

    last = result.trajectory.at(40)
    shares = []
    for name in last.params:
        for place in (0, 2):
            own = {"step": 40, "b": last.labels[place], "layer": name}
            now, old, start = (part(s, place, name) for s in (40, steps[-2], 0))
            for metric, expected in (
                ("kernel_motion", kernel_distance(now, old)),
                ("kernel_from_start", kernel_distance(now, start)),
                ("kernel_norm_ratio", np.linalg.norm(now) / np.linalg.norm(start)),
            ):
                assert value(result, metric=metric, **own) == pytest.approx(expected, abs=1e-10)
            if place:
                apart = value(result, metric="kernel_distance", **own)
                assert apart == pytest.approx(kernel_distance(now, part(40, 0, name)), abs=1e-10)
        shares.append(value(result, metric="kernel_share", **{**own, "b": "reference"}))
    assert sum(shares) == pytest.approx(1, abs=1e-12)


def test_parts_that_do_not_fit_are_left_out(monkeypatch):
    monkeypatch.setattr("wingbeat.measure.tangent_kernels.MEMORY", 1000)
    found = wb.run(noisy(steps=4), [wb.Gaussian(0.3)], metrics="kernel", **FIXED)
    assert set(rows(found, metric="kernel_motion").layer) == {""}
    assert rows(found, metric="kernel_share").empty


def test_the_twin_is_the_reference(result):
    assert (rows(result, metric="kernel_distance", b="null").value == 0).all()
    own = result.table[result.table.b.isin(["reference", "null"]) & (result.table.a == "")]
    wide = own.pivot(index=["metric", "step", "layer"], columns="b", values="value")
    assert (wide.reference == wide.null).all()
    assert (rows(result, metric="kernel_motion", step=0).value == 0).all()


def test_the_summary(result):
    own = rows(result, metric="kernel_distance", step=40, perturbation=FIRST, layer="").value
    entry = result.summary[f"{FIRST}/final_kernel_distance"]
    assert entry["value"] == pytest.approx(own.mean())
    assert result.summary[f"{FIRST}/final_local_elasticity"]["value"] > 0
    assert f"{FIRST}/kernel_settled_step" in result.summary


def test_a_look_costs_no_more_than_training_but_both_ends_are_there():
    task = noisy(steps=6)
    found = wb.run(task, [wb.Gaussian(0.3)], metrics="kernel", **{**FIXED, "record_every": 1})
    assert set(rows(found, metric="kernel_motion").step) == {0, 6}
    assert found.summary[f"{FIRST}/kernel_settled_step"]["reason"]


@pytest.mark.parametrize(
    ("motions", "settled"),
    [((4.0, 1.0, 0.1, 0.2), 16), ((4.0, 0.1, 1.0, 0.2), 24), ((4.0, 4.0, 4.0, 4.0), None)],
)
def test_a_kernel_is_settled_from_where_it_stays_slow(motions, settled):
    steps = [0, 8, 16, 24, 32]
    run = RunKernels(steps, {s: np.zeros((1, 2, 2)) for s in steps}, None, {})
    found, why = _settled(run, dict(zip(steps[1:], np.array(motions)[:, None], strict=True)), 1)
    assert (found[0] == settled) if settled else np.isnan(found[0])
    assert why == NOT_REACHED


def test_what_has_no_value_says_why():
    quick = {**FIXED, "record_every": 2}
    dead = lambda: nn.Sequential(nn.Linear(4, 3), nn.Threshold(1e9, 0.0))  # noqa: E731
    found = wb.run(noisy(model=dead, steps=2), [wb.Gaussian(0.1)], metrics=NAMES, **quick)
    assert set(rows(found, metric="kernel_distance").reason) == {CONSTANT}
    assert set(rows(found, metric="local_elasticity").reason) == {CONSTANT}
    line = noisy(
        model=lambda: nn.Linear(4, 1),
        loss=lambda m, b: ((m(b[0])[:, 0] - b[1]) ** 2).mean(),
        steps=2,
        eval_data=None,
    )
    found = wb.run(line, [wb.Gaussian(0.1)], metrics=NAMES, **quick)
    assert (rows(found, metric="kernel_from_start").value < 1e-15).all()
    assert set(rows(found, metric="kernel_alignment").reason) == {NO_PREDICTIONS}
    assert set(rows(found, metric="local_elasticity").reason) == {NO_PREDICTIONS}
    broke = wb.run(noisy(steps=2), [wb.Gaussian(1e300)], metrics=NAMES, **quick)
    own = rows(broke, step=2, perturbation="gaussian-1e+300@0")
    assert set(own.reason[own.value.isna()]) <= {DIVERGED, CONSTANT}
    assert own.value.isna().any()
