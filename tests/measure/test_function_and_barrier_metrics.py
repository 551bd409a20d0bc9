"""Barriers, divergences of predictions, ensembles and Fisher divergence as metrics of a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from reference import function_space as slow
from run.tasks import line as linear_net
from run.tasks import noisy, plain_net, points, rows, squares, two_forks, value
from torch import nn

import wingbeat as wb
from wingbeat.errors import CONSTANT, DIVERGED, NO_PREDICTIONS, TOO_FEW_REPLICAS, RequestError
from wingbeat.landscape import Models, Probe, diagonal_fisher, line
from wingbeat.landscape.fisher import divergences
from wingbeat.measure.builtin import barrier as module
from wingbeat.measure.builtin.ensemble import GAINS
from wingbeat.measure.metric import METRICS as DECLARED
from wingbeat.measure.metric import default_names
from wingbeat.metrics.basins import basins
from wingbeat.task.step import TrainingStep

METRICS = ("kl", "js", "logit_correlation", "ensemble", "barrier", "fisher_kl", "disagreement")
FIRST, SECOND = "gaussian-0.3@0", "batchgradient-0.3@9"
CLOSE = {"rel": 1e-9, "abs": 1e-12}


def ran(task, forks=None, **options):
    given = {"replicas": 2, "record_every": 12, "driver": "loop", "dtype": torch.float64}
    forks = two_forks(0.3) if forks is None else forks
    return wb.run(task, forks, **{"metrics": METRICS, **given, **options})


@pytest.fixture(scope="module")
def task():
    return noisy(eval_data=points(30, 1))


@pytest.fixture(scope="module")
def result(task):
    return ran(task)


@pytest.fixture(scope="module")
def step(task):
    return TrainingStep(task, torch.float64, torch.device("cpu"))


def scores_at(task, step, snapshot):
    """Return each replica's logits on the evaluation data, by plain modules."""
    x = task.eval_data[0].double()
    found = []
    for i in range(len(snapshot.labels)):
        model = step.build(0)
        own = {k: t[i] for k, t in {**snapshot.params, **snapshot.buffers}.items()}
        model.load_state_dict(own)
        with torch.no_grad():
            found.append(model.eval()(x).tolist())
    return found


def test_predictions_against_the_reference(result, task, step):
    for snapshot in result.trajectory:
        scores = scores_at(task, step, snapshot)
        for i, label in enumerate(snapshot.labels[1:], start=1):
            where = {"step": snapshot.step, "b": label, "a": "reference"}
            expected = {
                "kl": slow.kl(scores[0], scores[i]),
                "js": slow.js(scores[0], scores[i]),
                "logit_correlation": slow.logit_correlation(scores[0], scores[i]),
            }
            for metric, number in expected.items():
                assert value(result, metric=metric, **where) == pytest.approx(number, **CLOSE)
    null = result.table[result.table.b == "null"]
    assert (null[null.metric.isin(["kl", "js", "fisher_kl"])].value == 0).all()


def test_ensembles_of_the_replicas_of_each_perturbation(result, task, step):
    snapshot = result.trajectory.at(24)
    scores, labels = scores_at(task, step, snapshot), task.eval_data[1].tolist()
    for name in (FIRST, SECOND):
        own = [scores[i] for i, x in enumerate(snapshot.labels) if x.startswith(name)]
        for combine, prefix in (("probability", "ensemble"), ("logit", "ensemble_logit")):
            loss, accuracy, losses, accuracies = slow.ensemble(own, labels, combine)
            where = {"step": 24, "perturbation": name}
            gain = value(result, metric=f"{prefix}_loss_gain", **where)
            assert gain == pytest.approx(np.mean(losses) - loss, **CLOSE)
            gain = value(result, metric=f"{prefix}_accuracy_gain", **where)
            assert gain == pytest.approx(accuracy - np.mean(accuracies), **CLOSE)
    chosen = np.argmax(scores, axis=2)
    for i, label in enumerate(snapshot.labels[1:], start=1):
        apart = (chosen[i] != chosen[0]).mean() / (chosen[i] != labels).mean()
        found = value(result, metric="ensemble_diversity", step=24, b=label)
        assert found == pytest.approx(apart)
    for name in (FIRST, SECOND):
        entry = result.summary[f"{name}/ensemble_loss_gain"]
        row = value(result, metric="ensemble_loss_gain", step=24, perturbation=name)
        assert entry["value"] == pytest.approx(row)


def test_barriers_of_all_pairs_at_the_end(result, task, step):
    snapshot = result.trajectory.at(24)
    models = Models.of_snapshot(step, snapshot)
    kept = [0, *range(2, len(models))]
    expected = line(Probe(step), models.take(kept))
    labels = [snapshot.labels[i] for i in kept]
    for curve, metric in module.ROWS.items():
        matrix = expected.matrix(curve)
        for i, a in enumerate(labels):
            for j in range(i + 1, len(labels)):
                found = value(result, metric=metric, step=24, a=a, b=labels[j])
                assert found == pytest.approx(matrix[i, j], abs=1e-10)
        assert value(result, metric=metric, step=24, b="null") == 0.0
    shown = [value(result, metric="basin", b=label) for label in labels]
    expected_basins = basins(expected.matrix("error_train")).labels
    assert shown == expected_basins.tolist()


def test_whole_curves_and_error_bars_to_the_reference(result, step):
    snapshot = result.trajectory.at(24)
    models = Models.of_snapshot(step, snapshot)
    for curve, metric in module.ROWS.items():
        for place, label in enumerate(snapshot.labels[1:], start=1):
            found = rows(result, metric=f"line_{curve}", b=label)
            assert len(found) == 25
            alphas = [float(x.removeprefix("alpha=")) for x in found.layer]
            np.testing.assert_allclose(alphas, np.linspace(0, 1, 25), atol=1e-6)
            own = line(Probe(step), models, [(0, place)]).curve(curve).values[0]
            np.testing.assert_allclose(found.value, own, atol=1e-10)
            where = {"b": label, "a": "reference", "step": 24}
            height = value(result, metric=metric, **where)
            low = value(result, metric=f"{metric}_low", **where)
            high = value(result, metric=f"{metric}_high", **where)
            if np.isnan(low):  # no batch differs: there is nothing that an interval could rest on
                assert curve.startswith("loss")
                assert height == pytest.approx(0, abs=1e-12)
                continue
            assert 0 <= low <= height <= high
            if curve.startswith("error"):
                assert high > 0, "no error seen in some samples is not none at all"


def test_summary_has_barriers_with_intervals(result):
    for name in (FIRST, SECOND):
        for metric in module.ROWS.values():
            found = rows(result, metric=metric, step=24, a="reference", perturbation=name)
            entry = result.summary[f"{name}/final_{metric}"]
            assert entry["value"] == pytest.approx(found.value.mean())
        for metric in ("kl", "js", "logit_correlation", "fisher_kl"):
            found = rows(result, metric=metric, step=24, perturbation=name)
            assert result.summary[f"{name}/final_{metric}"]["value"] == pytest.approx(
                found.value.mean()
            )
    three = ran(noisy(eval_data=None), wb.Gaussian(0.3), replicas=3, metrics=("barrier",))
    entry = three.summary["final_barrier_train"]
    # Three copies without a barrier do not show that there is none: no [0, 0].
    assert entry["value"] == 0
    assert (entry["low"], entry["interval_reason"]) == (None, "no_variation")


def test_fisher_divergence_of_the_replicas(result, task, step):
    snapshot = result.trajectory.at(24)
    models = Models.of_snapshot(step, snapshot)
    probe = Probe(step, data={"train": task.data})
    there, back = divergences(models.params, diagonal_fisher(probe, models), 70)
    for label, expected in zip(snapshot.labels[1:], (there + back) / 2, strict=True):
        assert value(result, metric="fisher_kl", b=label) == pytest.approx(expected)
    assert set(rows(result, metric="fisher_kl").step) == {24}


def test_a_reason_stands_exactly_where_there_is_no_value(result):
    assert ((result.table.reason != "") == result.table.value.isna()).all()


@pytest.mark.slow
def test_both_drivers_agree(task, result):
    other = ran(task, driver="lockstep")
    merged = result.table.merge(
        other.table, on=["metric", "step", "perturbation", "a", "b", "layer"]
    )
    assert len(merged) == len(result.table) == len(other.table)
    smooth = ~merged.metric.str.contains("error|basin|accuracy|diversity|disagreement|low|high")
    close = merged[smooth]
    np.testing.assert_allclose(close.value_x, close.value_y, rtol=1e-6, atol=1e-9)


def test_the_same_request_gives_the_same_bits(task, result):
    again = ran(task)
    assert result.table.equals(again.table)
    assert result.summary == again.summary


def test_a_regression_has_no_classes():
    x = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    task = noisy(model=linear_net, loss=squares, data=(x, x[:, 0]), eval_data=(x, x[:, 0]))
    found = ran(task, wb.Gaussian(0.1))
    for metric in ("kl", "js", "logit_correlation", "ensemble_diversity", *GAINS, "basin"):
        own = rows(found, metric=metric)
        assert len(own)
        assert set(own.reason) == {NO_PREDICTIONS}, metric
    for metric in ("barrier_error_train", "barrier_error_test"):
        assert set(rows(found, metric=metric).reason) == {NO_PREDICTIONS}
    assert rows(found, metric="barrier_train").value.max() == 0.0, "a convex loss has no barrier"
    assert found.summary["final_barrier_train"]["value"] == 0.0
    assert not any(k.startswith("line_error") for k in found.table.metric.unique())


def test_a_diverged_replica_has_reasons_and_leaves_the_others():
    task = noisy(model=plain_net, eval_data=points(30, 1))
    found = ran(task, [wb.Gaussian(1e60, at=12), wb.Gaussian(0.1)], dtype=torch.float32)
    wild, calm = "gaussian-1e+60@12", "gaussian-0.1@0"
    last = rows(found, step=24)
    broken = last[last.b.str.startswith(wild) & last.metric.isin(["kl", "barrier_train"])]
    assert set(broken.reason) == {DIVERGED}
    fine = last[(last.perturbation == calm) & last.metric.isin(["kl", "barrier_train"])]
    assert len(fine) == 2 + 3
    assert set(fine.reason) == {""}
    assert set(rows(found, metric="fisher_kl", perturbation=wild).reason) == {DIVERGED}
    assert set(rows(found, metric="basin", perturbation=wild).reason) == {DIVERGED}
    assert found.summary[f"{wild}/final_barrier_train"]["reason"] == DIVERGED
    assert found.summary[f"{calm}/final_barrier_train"]["reason"] == ""
    gains = rows(found, step=24, metric="ensemble_loss_gain")
    assert set(zip(gains.perturbation, gains.reason, strict=True)) == {(wild, DIVERGED), (calm, "")}


def test_one_replica_is_no_ensemble():
    task = noisy(eval_data=points(30, 1))
    found = ran(task, wb.Gaussian(0.1), replicas=1)
    assert set(rows(found, metric="ensemble_loss_gain").reason) == {TOO_FEW_REPLICAS}
    assert found.summary["ensemble_loss_gain"]["reason"] == TOO_FEW_REPLICAS
    assert len(rows(found, metric="barrier_train", step=24)) == 2


class Flat(nn.Module):
    """Gives the same scores for all classes, whatever its weight."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, x):
        return self.layer(x).expand(-1, 3)


def test_logits_without_variance_have_no_correlation():
    found = ran(noisy(model=Flat, eval_data=points(30, 1)), wb.Gaussian(0.1))
    assert set(rows(found, metric="logit_correlation").reason) == {CONSTANT}
    assert (rows(found, metric="kl").value == 0).all()


@pytest.mark.slow
def test_barriers_over_training_cost_no_more_than_training():
    task = noisy(eval_data=None)

    def recorded(steps):
        found = wb.run(
            replace(task, steps=steps, batch_size=70),
            wb.Gaussian(0.1, at=2),
            replicas=2,
            record_every=max(1, steps // 10),
            driver="loop",
            metrics=("barrier",),
        )
        return sorted(set(rows(found, metric="barrier_train").step)), found.steps

    few, _ = recorded(10)
    assert few == [10], "a line costs more than these ten steps: only the end"
    some, _ = recorded(30)
    assert len(some) == 30 * 3 // 24
    assert some[-1] == 30
    many, steps = recorded(120)
    assert many == [s for s in steps if s >= 2], "from the fork on, all of them"


def test_too_many_pairs_leave_out_those_between_perturbations(monkeypatch):
    monkeypatch.setattr(module, "MOST_PAIRS", 8)
    task = noisy(eval_data=None)
    found = wb.run(task, two_forks(0.3), replicas=2, driver="loop", metrics=("barrier",))
    own = rows(found, metric="barrier_train", step=24)
    assert len(own) == 5 + 2
    assert not (own.perturbation == "").any()


def test_declarations_name_every_row(result):
    known = {row for name in METRICS for row in DECLARED.find(name).rows}
    assert set(result.table.metric) == known
    assert not set(METRICS) & set(default_names())


def test_metrics_that_need_evaluation_data_say_so():
    for metric in ("kl", "js", "logit_correlation", "ensemble"):
        with pytest.raises(RequestError, match=f"{metric!r} needs evaluation data"):
            wb.run(noisy(eval_data=None), wb.Gaussian(0.1), metrics=(metric,))
    with pytest.raises(RequestError, match="did you mean 'barrier'"):
        wb.run(noisy(), wb.Gaussian(0.1), metrics=("barier",))
