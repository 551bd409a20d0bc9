"""Undefined is not zero: identical copies, noise, divergence and too little of everything."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from run import tasks
from run.tasks import noisy, plain, rows, weights_of, whole
from torch import nn

import wingbeat as wb

QUIET = {"driver": "loop", "record_every": 5}


def defined_or_explained(result):
    """Every value is a number or has a reason, in table and summary."""
    missing = result.table[result.table.value.isna()]
    assert (missing.reason != "").all()
    for name, entry in result.summary.items():
        if entry["value"] is None:
            assert entry["reason"], name
    json.dumps(result.summary, allow_nan=False)


def test_a_perturbation_that_vanishes_in_rounding():
    result = wb.run(plain(), wb.Gaussian(1e-12), replicas=4, **QUIET)
    assert result.perturbations[0]["realised"] == {"l2": [0.0] * 4, "changed": [0.0] * 4}
    assert (rows(result, metric="spread").value == 0).all()
    assert (rows(result, metric="l2").value == 0).all()
    assert result.behavior == "undetermined"
    assert math.isnan(result.convergence_ratio)
    assert math.isnan(result.lyapunov)
    for name in ("convergence_ratio", "convergence_ratio_projected", "lyapunov"):
        assert result.summary[name]["reason"] == "below_noise_floor"
    assert result.summary["behavior"]["reason"] == "below_noise_floor"
    growth = rows(result, metric="local_lyapunov")
    assert growth.value.isna().all()
    assert set(growth.reason) == {"below_noise_floor"}
    assert result.summary["early_late_ratio"]["value"] is None
    assert result.summary["participation_ratio"]["value"] is None
    defined_or_explained(result)


@pytest.mark.parametrize("driver", ["loop", "lockstep"])
def test_replicas_that_all_move_alike_have_no_spread(driver):
    away = {"2.bias": torch.tensor([0.1, -0.1, 0.0])}
    result = wb.run(plain(), wb.Direction(away, 1.0), replicas=4, driver=driver, record_every=5)
    assert result.noise_floor == 0
    assert (rows(result, metric="spread").value == 0).all()
    assert (rows(result, metric="l2", perturbation="direction-1@0", layer="").value > 0).all()
    assert result.behavior == "undetermined"
    assert result.summary["convergence_ratio"]["reason"] == "below_noise_floor"
    assert math.isfinite(result.lyapunov), "the distance to the reference has an exponent"
    defined_or_explained(result)


def counted():
    """Count in a generator, whose state cannot be copied for each replica."""
    number = 0
    while True:
        number += 1
        yield number


class Restless(nn.Module):
    """A net that depends on how often it was called: no execution repeats it."""

    calls = (counted(),)

    def __init__(self, size):
        super().__init__()
        self.inner, self.size = nn.Linear(4, 3), size

    def forward(self, x):
        shift = self.size * math.sin(1e6 * next(Restless.calls[0]))
        return self.inner(x) + shift * torch.arange(3.0)


def restless(size, scale, **options):
    task = plain(model=lambda: Restless(size), steps=20)
    return wb.run(task, wb.Gaussian(scale), replicas=4, **QUIET, **options)


@pytest.fixture(scope="module")
def drowned():
    """The perturbation is far smaller than the noise of execution."""
    return restless(0.5, 1e-6)


def test_warnings_about_noise_come_first(drowned):
    assert drowned.noise_floor > 0
    assert not drowned.deterministic
    assert "does not repeat itself" in drowned.warnings[0]
    assert f"{drowned.noise_floor:.3g}" in drowned.warnings[0]
    points = {s: whole(t) for s, (_, t) in weights_of(drowned).items()}
    largest = max(float(np.linalg.norm(p[1] - p[0])) for p in points.values())
    assert drowned.noise_floor == pytest.approx(largest)
    assert drowned.summary["noise_floor"]["value"] == drowned.noise_floor


def test_distances_at_or_below_the_floor_are_marked(drowned):
    found = rows(drowned, metric="l2", layer="")
    size = {
        (s, label): float(np.linalg.norm(whole(t)[i] - whole(t)[0]))
        for s, (labels, t) in weights_of(drowned).items()
        for i, label in enumerate(labels)
    }
    for row in found.itertuples():
        below = size[row.step, row.b] <= drowned.noise_floor * (1 - 1e-9)
        if below:
            assert row.reason == "below_noise_floor"
    assert (found.reason == "below_noise_floor").sum() > 5
    assert "below_noise_floor" in set(rows(drowned, metric="cosine").reason)


def test_no_verdict_from_below_the_floor(drowned):
    assert drowned.behavior == "undetermined"
    for name in (
        "behavior",
        "convergence_ratio",
        "convergence_ratio_projected",
        "lyapunov",
        "lyapunov_two_point",
    ):
        assert drowned.summary[name]["reason"] == "below_noise_floor", name
    floor = drowned.noise_floor
    spreads = rows(drowned, metric="spread", layer="")
    assert (spreads[spreads.value <= floor].reason == "below_noise_floor").all()
    small = set(spreads[spreads.reason != ""].step)
    assert 0 in small
    growth = rows(drowned, metric="local_lyapunov")
    steps = [*drowned.steps]
    for row in growth.itertuples():
        before = steps[steps.index(row.step) - 1]
        if {row.step, before} & small:
            assert row.reason == "below_noise_floor"
            assert math.isnan(row.value)
    defined_or_explained(drowned)


def test_what_is_above_the_floor_stays_defined():
    result = restless(1e-5, 0.5)
    assert 0 < result.noise_floor < 1e-2
    assert math.isfinite(result.convergence_ratio)
    assert result.warnings
    own = rows(result, metric="l2", perturbation="gaussian-0.5@0", layer="")
    assert (own.reason == "").all()


def test_restless_models_do_not_run_in_lock_step():
    with pytest.raises(wb.DriverError, match=r"state|repeat"):
        wb.run(plain(model=lambda: Restless(0.5)), wb.Gaussian(0.1), driver="lockstep")


def explosive(model, batch):
    """The loss overflows for a replica whose bias was pushed, and for no other."""
    return tasks.entropy(model, batch) + torch.exp(model[2].bias.abs().max() * 2) * 1e-9


@pytest.mark.parametrize("driver", ["loop", "lockstep"])
def test_a_replica_that_breaks_down_is_named_and_alone(driver):
    push = wb.Direction({"2.bias": torch.tensor([100.0, 0.0, 0.0])}, name="push", at=5)
    forks = [wb.Gaussian(0.01), push]
    task = noisy(model=tasks.plain_net, loss=explosive, steps=15)
    wanted = (
        "l2", "relative_l2", "cosine", "spread", "spread_projected", "local_lyapunov", "pca",
        "path_length", "velocity", "train_loss", "eval_loss", "accuracy", "disagreement",
    )  # fmt: skip
    result = wb.run(task, forks, replicas=3, driver=driver, record_every=5, metrics=wanted)
    assert any("push#1" in w and "step 5 on" in w for w in result.warnings)
    assert not any("gaussian" in w for w in result.warnings)
    for metric in wanted:
        if metric == "pca":
            continue
        broken = rows(result, metric=metric, perturbation="push", step=15)
        assert len(broken) > 0, metric
        assert broken[broken.layer == ""].value.isna().all(), metric
        assert "diverged" in set(broken.reason), metric
        assert set(broken.reason) <= {"diverged", "constant", ""}, metric
    alone = wb.run(task, forks[0], replicas=3, driver=driver, record_every=5, metrics=wanted)
    for metric in ("l2", "spread", "eval_loss", "accuracy"):
        mine = rows(result, metric=metric, perturbation="gaussian-0.01@0")
        other = rows(alone, metric=metric, perturbation="gaussian-0.01@0")
        if driver == "loop":
            assert mine.value.tolist() == other.value.tolist(), metric
        assert mine.value.notna().all()
    assert result.summary["push/convergence_ratio"]["reason"] == "diverged"
    assert result.summary["push/behavior"]["value"] == "undetermined"
    assert result.summary["push/final_l2"]["reason"] == "diverged"
    assert result.noise_floor == 0
    assert math.isfinite(result.convergence_ratio)
    defined_or_explained(result)


@pytest.mark.parametrize("driver", ["loop", "lockstep"])
def test_everything_breaks_down(driver):
    """A learning rate that is far too large: reasons, no exception."""
    task = noisy(
        model=tasks.line,
        loss=tasks.squares,
        data=(tasks.points()[0], tasks.points()[1].float()),
        eval_data=None,
        optimizer=lambda p: torch.optim.SGD(p, lr=1e6),
        steps=40,
    )
    result = wb.run(task, wb.Gaussian(0.1), replicas=3, driver=driver, record_every=10)
    assert len([w for w in result.warnings if "that is not finite" in w]) == 5
    assert result.behavior == "undetermined"
    assert result.summary["convergence_ratio"]["reason"] == "diverged"
    assert result.noise_floor == 0
    assert set(rows(result, metric="spread", step=40).reason) == {"diverged"}
    defined_or_explained(result)


def test_one_replica():
    result = wb.run(plain(), wb.Gaussian(0.01), replicas=1, **QUIET)
    assert set(rows(result, metric="spread").reason) == {"too_few_replicas"}
    assert set(rows(result, metric="local_lyapunov").reason) == {"too_few_replicas"}
    assert set(rows(result, metric="spread_projected").reason) == {"too_few_replicas"}
    assert result.summary["convergence_ratio"]["reason"] == "too_few_replicas"
    assert result.summary["convergence_ratio_projected"]["reason"] == "too_few_replicas"
    assert result.summary["participation_ratio"]["reason"] == "too_few_replicas"
    assert result.summary["early_late_ratio"]["reason"] == "too_few_replicas"
    assert result.summary["behavior"]["reason"] == "too_few_replicas"
    assert math.isfinite(result.lyapunov)
    assert result.summary["lyapunov"]["low"] is None
    assert result.summary["lyapunov"]["interval_reason"] == "too_few_replicas"
    assert result.behavior == "undetermined"
    defined_or_explained(result)


def test_two_replicas_have_a_value_and_no_interval():
    result = wb.run(plain(), wb.Gaussian(0.01), replicas=2, **QUIET)
    assert math.isfinite(result.convergence_ratio)
    assert result.summary["convergence_ratio"]["low"] is None
    assert result.behavior == "undetermined"
    assert result.summary["behavior"]["reason"] == "too_few_replicas"
    defined_or_explained(result)


def test_no_perturbation_at_all():
    result = wb.run(plain(), (), **QUIET)
    assert result.labels == ("reference", "null")
    assert result.noise_floor == 0
    assert result.behavior == "undetermined"
    assert math.isnan(result.convergence_ratio)
    assert math.isnan(result.lyapunov)
    assert rows(result, metric="spread").empty
    assert (rows(result, metric="path_length").value > 0).all()
    assert "undetermined" in str(result)
    defined_or_explained(result)


@pytest.mark.parametrize("every", [1000, 20, None])
def test_one_interval(every):
    result = wb.run(plain(steps=20), wb.Gaussian(0.01), replicas=3, record_every=every)
    if every:
        assert result.steps == (0, 20)
        assert len(rows(result, metric="local_lyapunov")) == 1
        assert result.summary["early_late_ratio"]["reason"] == "too_few_points"
    assert math.isfinite(result.convergence_ratio)
    assert math.isfinite(result.lyapunov)
    defined_or_explained(result)


@pytest.mark.parametrize("driver", ["loop", "lockstep"])
def test_one_step(driver):
    result = wb.run(plain(steps=1), wb.Gaussian(0.01), replicas=2, driver=driver)
    assert result.steps == (0, 1)
    assert math.isfinite(result.convergence_ratio)
    defined_or_explained(result)


def test_fork_before_the_last_step():
    result = wb.run(plain(steps=6), wb.Gaussian(0.01, at=5), replicas=3, driver="loop")
    name = "gaussian-0.01@5"
    assert rows(result, metric="spread", perturbation=name, layer="").step.tolist() == [5, 6]
    assert math.isfinite(result.lyapunov)
    defined_or_explained(result)


def test_only_noise_differs():
    """Replicas of another data order start at distance 0: no ratio, yet they part."""
    result = wb.run(plain(), wb.DataOrder(3), replicas=3, **QUIET)
    spreads = rows(result, metric="spread", layer="").value.tolist()
    assert spreads[0] == 0
    assert min(spreads[1:]) > 0
    assert result.behavior == "undetermined"
    assert result.summary["convergence_ratio"]["reason"] == "below_noise_floor"
    assert math.isfinite(result.lyapunov), "from the recorded steps after the start"
    defined_or_explained(result)


def test_nothing_asked_for_gives_an_empty_table():
    result = wb.run(plain(steps=2), wb.Gaussian(0.01), replicas=3, metrics=(), driver="loop")
    assert result.table.empty
    assert next(iter(result.table.columns)) == "metric"
    assert math.isfinite(result.convergence_ratio)


def test_a_normalisation_that_runs_twice_does_not_end_a_finished_run():
    """Was: RequestError after training. Now the barriers have a reason, all else its numbers."""

    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.norm, self.head = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.norm(torch.tanh(self.norm(self.layer(x)))))

    x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    task = wb.Task(
        model=Shared,
        loss=lambda m, b: nn.functional.cross_entropy(m(b[0]), b[1]),
        data=(x, (x[:, 0] > 0).long()),
        optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
        batch_size=16,
        steps=5,
    )
    wanted = ["l2", "barrier", "barrier_aligned", "soup"]
    result = wb.run(task, wb.Gaussian(0.1), replicas=3, metrics=wanted, **QUIET)
    assert np.isfinite(rows(result, metric="l2").value).all()
    for name in ("barrier_train", "barrier_aligned_train", "soup_gain_loss_train"):
        found = rows(result, metric=name)
        assert len(found)
        assert found.value.isna().all()
        assert set(found.reason) == {"shared_normalisation"}
    defined_or_explained(result)
