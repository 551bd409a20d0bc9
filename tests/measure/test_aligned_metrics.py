"""Distance and barrier after alignment as metrics of a run."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from run.tasks import line, noisy, noisy_net, plain_net, points, rows, squares, value
from torch import nn

import wingbeat as wb
from wingbeat.errors import (
    CONSTANT,
    DIVERGED,
    NO_PERMUTATIONS,
    NO_PREDICTIONS,
    TOO_FEW_REPLICAS,
)
from wingbeat.landscape import Models, Probe, soup
from wingbeat.measure import symmetries
from wingbeat.measure.builtin.barrier import barrier
from wingbeat.measure.builtin.barrier_aligned import ALIGNED, barrier_aligned
from wingbeat.measure.builtin.l2_aligned import l2_aligned
from wingbeat.measure.builtin.soup import GAINS
from wingbeat.measure.context import MetricContext
from wingbeat.measure.symmetries import task_spec
from wingbeat.measure.table import TableBuilder
from wingbeat.replicas.snapshot import Snapshot
from wingbeat.task.barrier_sampling import BarrierSampling
from wingbeat.task.step import TrainingStep

METRICS = ("l2", "barrier", "l2_aligned", "barrier_aligned")
FIXED = {"replicas": 2, "record_every": 12, "driver": "loop", "dtype": torch.float64}


def context_of(task, states):
    """Return a run whose last step is given: the reference, its twin and one replica."""
    step = TrainingStep(task, torch.float64, torch.device("cpu"))
    labels = ("reference", "null", "moved#1")
    stacks = {k: torch.stack([s[k] for s in (states[0], states[0], states[1])]) for k in states[0]}
    params = {name: stacks[name] for name in step.layout.names}
    buffers = {name: t for name, t in stacks.items() if name not in params}
    snapshot = Snapshot(5, labels, params, buffers, torch.zeros(5, 3))

    class Moment(SimpleNamespace):
        def __iter__(self):
            return iter([snapshot])

    run = Moment(steps=(5,), labels=labels, at=lambda _: snapshot)
    return MetricContext(TableBuilder(), run, step)


def conv_net():
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 2)),
        nn.Conv2d(1, 6, 2, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(54, 3),
    )


def trained(task, step):
    """Return weights that fit the data, so that a point between two of them does not."""
    model = step.build(0).eval()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    batch = tuple(t.double() if t.is_floating_point() else t for t in task.data)
    for _ in range(80):
        optimizer.zero_grad()
        task.loss(model, batch).backward()
        optimizer.step()
    return {k: t.detach().clone() for k, t in model.state_dict().items()}


@pytest.mark.parametrize("net", [noisy_net, conv_net])
def test_an_exact_permutation_of_the_reference_is_no_distance_away(net):
    task = noisy(model=net)
    step = TrainingStep(task, torch.float64, torch.device("cpu"))
    state = trained(task, step)
    moved = task_spec(step).random(1).apply(state)
    context = context_of(task, [state, moved])
    barrier(context)
    l2_aligned(context)
    barrier_aligned(context)
    table = context.out.table()
    own = table[(table.b == "moved#1") & (table.a == "reference")].set_index("metric")["value"]
    apart = sum(float(((state[k] - moved[k]) ** 2).sum()) for k in step.layout.names) ** 0.5
    assert apart > 0.1
    assert own["barrier_train"] > 1e-3
    assert own["l2_aligned"] == 0.0
    assert 0.0 <= own["fixed_point_share"] < 1.0
    for metric in ALIGNED.values():
        assert own[metric] == 0.0
    twin = table[table.b == "null"].set_index("metric")["value"]
    assert (twin["l2_aligned"], twin["fixed_point_share"]) == (0.0, 1.0)


def test_independent_runs_come_closer():
    found = wb.run(noisy(eval_data=points(30, 1)), wb.Init(), metrics=METRICS, **FIXED)
    l2 = rows(found, metric="l2", layer="")
    near = rows(found, metric="l2_aligned")
    both = l2.merge(near, on=["step", "perturbation", "a", "b"])
    assert len(both) == len(near) == 3 * len(near.step.unique())
    assert (both.value_y <= both.value_x + 1e-12).all()
    moved = both[both.b != "null"]
    assert (moved.value_y < moved.value_x).all()
    shares = rows(found, metric="fixed_point_share")
    assert shares[shares.b != "null"].value.between(0, 0.99).all()
    assert set(rows(found, metric="barrier_aligned_train").step) == {24}
    for name in ("l2_aligned", "fixed_point_share", "barrier_aligned_test"):
        last = rows(found, metric=name, step=24)
        mean = last[last.b != "null"].value.mean()
        assert found.summary[f"final_{name}"]["value"] == pytest.approx(mean)
    label = str(near.b.iloc[-1])
    curve = rows(found, metric="line_aligned_loss_train", b=label).value.to_numpy()
    ends = np.linspace(curve[0], curve[-1], 25)
    height = value(found, metric="barrier_aligned_train", b=label)
    assert height == pytest.approx(max(0.0, float((curve - ends).max())), abs=1e-12)
    assert ((found.table.reason != "") == found.table.value.isna()).all()


@pytest.mark.parametrize("along", [True, False])
def test_comparisons_of_models_can_wait_for_the_end(along):
    """Weights are recorded often all the same: that costs no pass over the data."""
    task = noisy(steps=12, barriers=BarrierSampling(samples=16, points=3, along=along))
    forks, options = [wb.Gaussian(0.1)], {**FIXED, "record_every": 3}
    found = wb.run(task, forks, metrics=("l2", "barrier", "l2_aligned", "cka"), **options)
    steps = {name: set(rows(found, metric=name).step) for name in ("l2", "l2_aligned", "cka")}
    assert steps["l2"] == {0, 3, 6, 9, 12}
    assert steps["l2_aligned"] == steps["cka"] == ({0, 3, 6, 9, 12} if along else {12})
    assert (len(set(rows(found, metric="barrier_train").step)) > 1) == along
    assert np.isfinite(found.summary["final_angular_cka"]["value"])


def of_parts(model, batch):
    return nn.functional.cross_entropy(model[2](model[1](model[0](batch[0]))), batch[1])


def with_a_weight(model, batch):
    """A loss that looks at one unit by its place."""
    return nn.functional.cross_entropy(model(batch[0]), batch[1]) + 5 * model[0].bias[0]


@pytest.mark.parametrize("loss", [of_parts, with_a_weight])
def test_a_model_without_symmetries_to_be_found_says_so(loss):
    task = noisy(model=plain_net, loss=loss, eval_data=points(30, 1), steps=6)
    found = wb.run(task, wb.Gaussian(0.1), metrics=METRICS[2:], **FIXED)
    own = found.table[found.table.metric.str.contains("aligned|fixed")]
    assert set(own.metric) == {"l2_aligned", "fixed_point_share", *ALIGNED.values()}
    assert set(own.reason) == {NO_PERMUTATIONS}
    assert found.summary["final_l2_aligned"]["reason"] == NO_PERMUTATIONS
    assert found.summary["final_barrier_aligned_train"]["reason"] == NO_PERMUTATIONS


def test_a_model_without_hidden_units_is_where_it_was():
    x = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    task = noisy(model=line, loss=squares, data=(x, x[:, 0]), eval_data=None, steps=6)
    found = wb.run(task, wb.Gaussian(0.1), metrics=("l2", *METRICS[2:]), **FIXED)
    for label in ("null", "gaussian-0.1@0#1"):
        raw = value(found, metric="l2", b=label, step=6, layer="")
        assert value(found, metric="l2_aligned", b=label, step=6) == pytest.approx(raw, rel=1e-12)
    assert set(rows(found, metric="fixed_point_share").reason) == {CONSTANT}
    assert found.summary["final_fixed_point_share"]["reason"] == CONSTANT
    assert set(rows(found, metric="barrier_aligned_error_train").reason) == {NO_PREDICTIONS}
    assert rows(found, metric="barrier_aligned_train").value.max() == 0.0


def test_averages_of_weights_gain_what_the_landscape_says():
    task = noisy(eval_data=points(30, 1))
    found = wb.run(task, wb.Init(), metrics=("soup",), **FIXED)
    step = TrainingStep(task, torch.float64, torch.device("cpu"))
    snapshot = found.trajectory.at(24)
    models = Models.of_snapshot(step, snapshot)
    near = symmetries.aligned(step, models, task_spec(step)).models
    for end, stack in (("", models), ("_aligned", near)):
        expected = soup(Probe(step), stack.take([2, 3]))
        for curve, row in GAINS.items():
            assert value(found, metric=f"{row}{end}") == pytest.approx(expected.gain(curve))
    one = wb.run(task, wb.Gaussian(0.1), metrics=("soup",), **{**FIXED, "replicas": 1})
    assert set(one.table.reason) == {TOO_FEW_REPLICAS}


def test_a_replica_that_broke_down_is_not_aligned():
    task = noisy(model=plain_net, eval_data=None, steps=12)
    forks = [wb.Gaussian(1e60, at=6), wb.Gaussian(0.1)]
    options = {**FIXED, "dtype": torch.float32}
    found = wb.run(task, forks, metrics=METRICS[2:], **options)
    last = rows(found, step=12)
    for metric in ("l2_aligned", "fixed_point_share", "barrier_aligned_train"):
        own = last[last.metric == metric].set_index("perturbation")["reason"]
        assert set(own["gaussian-1e+60@6"]) == {DIVERGED}
        assert set(own["gaussian-0.1@0"]) == {""}


def by_name(model, batch):
    return nn.functional.cross_entropy(model(input=batch[0]), batch[1])


def test_a_model_that_is_called_by_name_is_followed():
    step = TrainingStep(noisy(loss=by_name), torch.float32, torch.device("cpu"))
    assert [group.size for group in task_spec(step).groups] == [6]
