"""Exponents of training runs: closed forms, two trajectories, real chaos, bad requests."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import isnan, log

import cases
import numpy as np
import pytest
import torch
from torch import optim
from training_cases import digits_net, iris, quadratic

from wingbeat.errors import DIVERGED, RequestError
from wingbeat.lyapunov.training.baseline import Baseline, judge, mean_error
from wingbeat.lyapunov.training.exponents import training_spectrum
from wingbeat.lyapunov.training.replicas_benettin import replica_exponent
from wingbeat.lyapunov.training.tangent import TangentStep
from wingbeat.task.task import Task
from wingbeat.tasks.architectures import dense_task

H = (0.1, 0.5, 1.2, 1.9)


def test_gradient_descent_on_a_quadratic() -> None:
    found = training_spectrum(quadratic(H, 1.0, 320), 4, discard=200, neutral_checks=0)
    expected = sorted((log(abs(1 - h)) for h in H), reverse=True)
    np.testing.assert_allclose(found.exponents[2:], expected[2:], atol=1e-10)
    # |1 − h| is 0.9 twice: the two share their sum
    assert found.exponents[:2].sum() == pytest.approx(2 * log(0.9), abs=1e-10)


@pytest.mark.slow
def test_heavy_ball_on_a_quadratic() -> None:
    beta = 0.3
    task = quadratic((0.2, 0.9), 1.0, 400, momentum=beta)
    found = training_spectrum(task, 4, discard=250, neutral_checks=0, check=False)
    roots = [np.roots([1.0, -(1 + beta - h), beta]) for h in (0.2, 0.9)]
    expected = np.sort(np.log(np.abs(np.concatenate(roots))))[::-1]
    np.testing.assert_allclose(found.exponents, expected, atol=2e-3)
    np.testing.assert_allclose(found.parameter_exponents[:2], expected[:2], atol=2e-3)


def test_a_single_unstable_weight_is_seen_as_such() -> None:
    task = quadratic((0.5, 2.2, 0.4, 0.3), 1.0, 60)
    found = training_spectrum(task, 1, discard=30, neutral_checks=0, check=False)
    assert found.maximum == pytest.approx(log(1.2), abs=1e-3)
    assert found.leading.participation == pytest.approx(1.0, abs=1e-6)
    assert found.leading.main_layer == "weight"
    assert found.leading.blocks == pytest.approx({"parameters": 1.0})


def agree(task: Task, warmup: int, discard: int) -> tuple[float, float]:
    """Compare tangent and two-trajectory estimates; return exponent and error.

    Roundings differ between the two, so a chaotic run must end before they have grown.
    """
    tangent = training_spectrum(task, 1, warmup=warmup, discard=discard, check=False)
    twin = replica_exponent(task, warmup=warmup, discard=discard, every=1)
    error = float(np.nanmax([tangent.errors[0], twin.error]))
    apart = abs(float(tangent.parameter_exponents[0]) - twin.exponent)
    assert apart < min(error, 1e-4)  # the same direction: only the twin's size is between them
    assert twin.noise_floor == 0.0
    return tangent.maximum, error


def test_two_trajectories_agree_on_a_chaotic_run() -> None:
    value, error = agree(iris(1.0, 70), 1, 10)
    assert value > 0.15 > error


def test_two_trajectories_agree_on_a_stable_run() -> None:
    decayed = partial(optim.SGD, lr=0.05, weight_decay=0.2)
    value, error = agree(iris(0.05, 100, 4, decayed), 1, 10)
    assert value < -3 * error


@pytest.mark.long
@pytest.mark.parametrize("lr", [1.0, 0.01])
def test_two_trajectories_agree_over_two_hundred_steps_of_ten_runs(lr: float) -> None:
    tangent = training_spectrum(iris(lr, 200), 1, warmup=1, seeds=range(10), baseline=8)
    twins = [replica_exponent(iris(lr, 200), warmup=1, every=1, seed=s) for s in range(10)]
    mean = np.mean([twin.exponent for twin in twins])
    assert abs(mean - tangent.maximum) < 2 * tangent.errors[0] + 1e-12
    # Danovski et al.'s runs: mean .228 and sd .075 of the same exponent over 100 starts
    assert (tangent.judgement == "chaotic") == (lr == 1.0)
    assert (0.1 < tangent.maximum < 0.4) if lr == 1.0 else abs(tangent.maximum) < 5e-3


@pytest.mark.slow
def test_momentum_and_adam_agree_with_two_trajectories() -> None:
    for optimizer in (partial(optim.SGD, lr=0.3, momentum=0.8), partial(optim.Adam, lr=0.05)):
        task = digits_net(optimizer, 90)
        tangent = training_spectrum(task, 1, warmup=20, discard=20, neutral_checks=0, check=False)
        twin = replica_exponent(task, warmup=20, discard=20, every=5)
        # both are the growth of the parameter block
        assert twin.exponent == pytest.approx(float(tangent.parameter_exponents[0]), abs=1e-4)


@pytest.mark.slow
def test_seeds_give_a_second_error() -> None:
    found = training_spectrum(iris(1.0, 45, 3), 2, warmup=1, seeds=(0, 1, 2), check=False)
    each = np.array([run.spectrum.exponents for run in found.runs])
    np.testing.assert_allclose(found.exponents, each.mean(0))
    np.testing.assert_allclose(found.seed_errors, each.std(0, ddof=1) / 3**0.5)
    assert np.array_equal(found.errors, found.seed_errors)
    assert isnan(training_spectrum(iris(1.0, 12, 3), 1, warmup=1, check=False).errors[0])
    again = training_spectrum(iris(1.0, 45, 3), 2, warmup=1, seeds=(0, 1, 2), check=False)
    assert np.array_equal(found.exponents, again.exponents)


def test_rows_per_step_and_per_interval_agree() -> None:
    rare, often = (
        training_spectrum(iris(1.0, 41, 3), 3, warmup=1, every=n, neutral_checks=0, check=False)
        for n in (8, 1)
    )
    np.testing.assert_allclose(rare.exponents, often.exponents, rtol=1e-9)
    np.testing.assert_allclose(rare.parameter_exponents, often.parameter_exponents, rtol=1e-9)


def test_units_of_the_optimizer_are_flagged_in_a_short_run() -> None:
    task = cases.task("mlp", partial(optim.SGD, lr=0.02, momentum=0.9))
    found = training_spectrum(task, 1, steps=12, warmup=2, neutral_checks=0, check=False)
    assert found.coordinate_bound[0]
    assert found.maximum > found.parameter_exponents[0]
    assert found.leading.blocks["momentum_buffer"] > 0


@pytest.mark.parametrize("seeds", [3, 5])
def test_chance_is_called_chaotic_as_seldom_as_said(seeds: int) -> None:
    rng, said, trials = np.random.default_rng(0), 0, 2000
    for _ in range(trials):
        runs, small = rng.normal(0.001, 1e-3, size=(2, seeds))
        error, freedom = mean_error(runs, np.zeros(seeds), 10)
        base = Baseline(0.001, *mean_error(small, np.zeros(seeds), 10)[:1], 8, "", freedom)
        base = replace(base, exponent=float(small.mean()))
        said += judge(float(runs.mean()), error, base, freedom) == "chaotic"
    # nominal 2.5 % on this side; two standard errors called 9 % chaotic with three seeds
    assert said / trials <= 0.035


@pytest.mark.slow
def test_words_need_a_baseline() -> None:
    base = Baseline(1e-3, 1e-4, 8)
    assert judge(0.1, 0.01, base) == "chaotic"
    assert judge(1.2e-3, 1e-4, base) == "like small steps"
    assert judge(-0.1, 0.01, base) == "contracting"
    assert judge(0.1, float("nan"), base) == "not judged"
    found = training_spectrum(iris(0.02, 30, 3), 1, warmup=1, baseline=2, check=False)
    assert found.baseline is not None
    # over the same training time a run in half the steps grows alike
    assert found.baseline.exponent == pytest.approx(found.maximum, rel=0.1)
    assert found.judgement == "like small steps"


def test_a_run_that_diverges_says_when_and_gives_what_was_found() -> None:
    found = training_spectrum(quadratic((3.5, 0.5), 1.0, 2000), 2, check=False, neutral_checks=0)
    stop = found.diverged_at[0]
    assert 370 < stop < 400  # 2.5**n leaves double precision at n = 774, its square at 387
    assert found.runs[0].spectrum.reason == DIVERGED
    assert np.isnan(found.runs[0].spectrum.exponents).all()
    np.testing.assert_allclose(found.exponents, [log(2.5), log(0.5)], atol=1e-2)
    assert found.to_json()["diverged_at"] == [stop]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"k": 15}, "k is 15: the training map has 14 coordinates"),
        ({"k": 0}, "k is 0"),
        ({"warmup": 20}, "warmup is 20: give a whole number from 0 to 19"),
        ({"warmup": 5, "discard": 15}, "discard is 15: .* from 0 to 14"),
        ({"steps": 21}, "steps is 21: .*the task has 20 steps"),
        ({"every": 0}, "every is 0"),
        ({"seeds": ()}, "seeds is empty"),
        ({"baseline": 1}, "baseline is 1: .* at least 2"),
    ],
)
def test_bad_requests(options: dict[str, object], words: str) -> None:
    task = cases.task("mlp", "sgd", model=lambda: torch.nn.Linear(4, 1), steps=20)
    task = replace(task, optimizer=partial(optim.SGD, lr=0.01))
    if options.get("k") == 15:
        options, words = {"k": 6}, "k is 6: the training map has 5 coordinates"
    with pytest.raises(RequestError, match=words):
        training_spectrum(task, **{"check": False, **options})  # type: ignore[arg-type]


def test_replicas_of_an_optimizer_without_pure_form() -> None:
    task = cases.task("mlp", partial(optim.Rprop, lr=1e-3))
    found = replica_exponent(task, steps=60, every=5)
    assert found.driver == "loop (object)"
    assert np.isfinite(found.exponent)
    assert found.noise_floor == 0.0


def test_replicas_refuse_and_report() -> None:
    with pytest.raises(RequestError, match="size is 0"):
        replica_exponent(quadratic(H, 1.0, 40), size=0)
    with pytest.raises(RequestError, match="twins is 0"):
        replica_exponent(quadratic(H, 1.0, 40), twins=0)
    found = replica_exponent(quadratic((3.5, 0.5), 1.0, 1500), twins=2, every=3)
    assert found.reason == DIVERGED
    assert found.exponent == pytest.approx(log(2.5), abs=0.02)


@pytest.mark.long
def test_all_fifty_one_parameters_of_the_tiny_net() -> None:
    task = dense_task((4, 4, 2, 2), epochs=40)
    assert TangentStep(task, recorded=False).coordinates.layout.size == 51
    found = training_spectrum(task, 51, steps=1010, warmup=10)
    assert (np.diff(found.exponents) <= 0).all()
    assert np.isfinite(found.exponents).all()
