"""The metric "sharpness" of a run against closed forms and curvlinops."""

from __future__ import annotations

from dataclasses import replace

import curvlinops
import numpy as np
import pytest
import torch
from run.tasks import entropy, line, noisy, plain, plain_net, plain_sgd, points, rows, squares

import wingbeat as wb
from wingbeat.curvature import Hessian
from wingbeat.curvature.along import even_samples
from wingbeat.errors import DIVERGED, NOT_TWICE_DIFFERENTIABLE
from wingbeat.measure.builtin.sharpness import steps_within_budget
from wingbeat.measure.metric import METRICS, default_names
from wingbeat.report.figures.losses import losses

OPTIONS = {"replicas": 2, "record_every": 5, "driver": "loop", "dtype": torch.float64}
NUDGE = "gaussian-0.01@0"


def ran(task, forks=None, **options):
    forks = [wb.Gaussian(0.01)] if forks is None else forks
    return wb.run(task, forks, metrics=("sharpness",), **{**OPTIONS, **options})


def quadratic(**changes):
    x, y = points()
    task = noisy(model=line, loss=squares, data=(x, y.float()), optimizer=plain_sgd, steps=20)
    return replace(task, eval_data=None, **changes)


def test_a_quadratic_loss_has_the_same_sharpness_everywhere():
    x, _ = points()
    inputs = torch.cat([x, torch.ones(len(x), 1)], dim=1).double().numpy()
    largest = np.linalg.eigvalsh(2 * inputs.T @ inputs / len(inputs))[-1]
    result = ran(quadratic())
    found = rows(result, metric="sharpness")
    np.testing.assert_allclose(found.value, largest, rtol=1e-5)
    assert sorted(set(found.b)) == [f"{NUDGE}#1", f"{NUDGE}#2", "null", "reference"]
    entry = result.summary[f"{NUDGE}/final_sharpness"]
    assert entry["value"] == pytest.approx(largest, rel=1e-5)


def test_every_replica_against_curvlinops():
    task = plain(optimizer=plain_sgd)
    result = ran(task)
    snapshot = result.trajectory.at(20)
    data = [(task.data[0].double(), task.data[1])]
    for i, label in enumerate(snapshot.labels):
        model = plain_net().double()
        model.load_state_dict({k: t[i] for k, t in snapshot.params.items()})
        oracle = curvlinops.HessianLinearOperator(
            model, torch.nn.CrossEntropyLoss(), list(model.parameters()), data
        )
        matrix = torch.stack([oracle @ v for v in torch.eye(oracle.shape[0]).double()]).numpy()
        largest = np.linalg.eigvalsh((matrix + matrix.T) / 2)[-1]
        found = rows(result, metric="sharpness", step=20, b=label)
        assert float(found.value.iloc[0]) == pytest.approx(largest, rel=1e-5)
    same = rows(result, metric="sharpness", b="null").value.to_numpy()
    assert (same == rows(result, metric="sharpness", b="reference").value.to_numpy()).all()


def test_batch_statistics_are_those_of_the_task_s_batches():
    """With dropout and batch normalisation: the mean over batches, each with its fixed mask."""
    task = noisy(data=tuple(t[:32] for t in points()), steps=6)
    result = ran(task, forks=[], record_every=6)
    hessian = Hessian(task, batch_size=16)
    snapshot = result.trajectory.at(6)
    operator = hessian.at(snapshot)
    whole = operator(torch.eye(operator.size, dtype=torch.float64).expand(2, -1, -1))[0]
    largest = float(torch.linalg.eigvalsh(whole)[-1])
    found = rows(result, metric="sharpness", step=6, b="reference")
    assert float(found.value.iloc[0]) == pytest.approx(largest, rel=1e-5)


def test_it_is_looked_at_as_often_as_training_pays_for():
    class Run:
        def __init__(self, steps, batch_size, recorded):
            self.model_step = self
            self.task = noisy(steps=steps, batch_size=batch_size)
            self.trajectory = self
            self.steps = recorded

    assert steps_within_budget(Run(24, 16, (0, 12, 24)), 70) == [0, 24]
    assert steps_within_budget(Run(24, 16, (0,)), 70) == [0]
    # 3,600 updates on 70 samples pay for 40 looks at 70 samples, of 90 gradients each.
    assert steps_within_budget(Run(3600, 70, tuple(range(0, 3601, 900))), 70) == [
        0,
        900,
        1800,
        2700,
        3600,
    ]
    assert len(steps_within_budget(Run(3600, 70, tuple(range(0, 3601, 36))), 70)) == 40


def test_evenly_spaced_samples_see_every_class():
    x = torch.randn(3000, 4)
    y = torch.arange(3000) // 1000
    chosen = even_samples(plain(data=(x, y)))
    assert len(chosen) == 1000
    assert torch.bincount(y[list(chosen)]).tolist() == [334, 333, 333]


def test_a_broken_replica_has_none_and_says_why():
    result = ran(quadratic(), [wb.Gaussian(0.01), wb.Gaussian(1e120)])
    bad = rows(result, metric="sharpness", step=20, perturbation="gaussian-1e+120@0")
    assert len(bad) == 2
    assert set(bad.reason) <= {DIVERGED, ""}
    fine = rows(result, metric="sharpness", step=20, perturbation=NUDGE)
    assert np.isfinite(fine.value).all()


class Once(torch.autograd.Function):
    """An operation whose gradient cannot be differentiated."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        return 2 * ctx.saved_tensors[0] * grad


def once(model, batch):
    return Once.apply(entropy(model, batch))


def test_a_loss_without_second_derivative_says_so():
    result = ran(plain(loss=once, steps=2), forks=[])
    found = rows(result, metric="sharpness")
    assert set(found.reason) == {NOT_TWICE_DIFFERENTIABLE}
    assert found.value.isna().all()


def test_it_is_declared_and_costs_nobody_who_does_not_ask():
    assert METRICS.find("sharpness").needs == "models"
    assert "sharpness" not in default_names()


def test_the_report_says_what_it_is():
    figure = losses(ran(plain(steps=2)), "sharpness")
    assert figure is not None
    assert figure.caption.startswith("Largest eigenvalue of the Hessian")
    assert "loss/weight²" in figure.y_label
