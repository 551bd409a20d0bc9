"""Curvature along recorded runs: against written-out Hessians, the optimizer's state, bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import task
from curvature.curvature_cases import digits_tanh, quadratic

from wingbeat.curvature import (
    CurvatureSample,
    Hessian,
    against_threshold,
    curvature_along,
    density_along,
    preconditioner,
    sharpness,
    states_along,
)
from wingbeat.errors import DIVERGED, DriverError, RequestError
from wingbeat.execution.run import run
from wingbeat.replicas.perturb import Gaussian
from wingbeat.replicas.snapshot import Snapshot

SPECTRUM = torch.tensor([5.0, 2.0, 0.5], dtype=torch.float64)


def test_a_quadratic_keeps_its_curvature_for_every_replica() -> None:
    problem = quadratic(torch.diag(SPECTRUM), steps=6)
    result = run(problem, Gaussian(0.1), replicas=2, record_every=3, metrics=("l2",), driver="loop")
    table = curvature_along(result, problem, look=CurvatureSample(k=1, which="both", trace=9))
    assert len(table) == 3 * 4 * 3
    for name, value in (("sharpness", 5.0), ("smallest_eigenvalue", 0.5), ("trace", 7.5)):
        rows = table[table["metric"] == name]
        assert np.allclose(rows["value"], value, rtol=1e-6)
    assert set(table["perturbation"]) == {"", "null", "gaussian-0.1@0"}
    assert (table["reason"] == "").all()


def test_snapshots_of_a_net_equal_the_written_out_hessian() -> None:
    problem = replace(task("cnn"), steps=4)
    result = run(
        problem, Gaussian(0.01), replicas=1, record_every=4, metrics=("l2",), driver="loop"
    )
    hessian = Hessian(problem, samples=20)
    table = curvature_along(
        result,
        problem,
        look=CurvatureSample(k=2, layers=True, tolerance=1e-8),
        hessian=hessian,
        steps=(4,),
        labels=("reference",),
    )
    snapshot = result.trajectory.at(4)
    exact = torch.linalg.eigvalsh(hessian.at(snapshot).dense()).flip(1)
    whole = table[(table["layer"] == "") & (table["metric"] == "sharpness")]
    assert np.allclose(whole["value"], exact[:1, 0].numpy(), rtol=1e-9)
    second = table[(table["layer"] == "") & (table["metric"] == "eigenvalue_2")]
    assert np.allclose(second["value"], exact[:1, 1].numpy(), rtol=1e-7)
    head = table[(table["layer"] == "head") & (table["metric"] == "sharpness")]
    block = torch.linalg.eigvalsh(hessian.at(snapshot, "head").dense())[:1, -1]
    assert np.allclose(head["value"], block.numpy(), rtol=1e-9)
    quick = sharpness(problem, snapshot, hessian=hessian, tolerance=1e-8)
    assert np.allclose(quick, exact[:, 0].numpy(), rtol=1e-9)


def test_densities_of_all_replicas_at_once_are_those_of_each_alone() -> None:
    problem = replace(task("mlp"), steps=4)
    result = run(
        problem, Gaussian(0.05), replicas=2, record_every=4, metrics=("l2",), driver="loop"
    )
    given = {"probes": 2, "lanczos": 8, "points": 400}
    table = density_along(result, problem, **given)
    assert len(table) == 2 * 4 * 400
    for label in result.trajectory.labels:
        alone = density_along(result, problem, steps=(4,), labels=(label,), **given)
        same = table[(table["step"] == 4) & (table["a"] == label)]
        for column in ("eigenvalue", "density"):
            assert np.allclose(same[column], alone[column], rtol=1e-9, atol=1e-12)
        area = np.trapezoid(same["density"], same["eigenvalue"])
        assert area == pytest.approx(1.0, abs=1e-3)
    with pytest.raises(RequestError, match="was not recorded"):
        density_along(result, problem, steps=(3,))


def test_a_replica_that_diverged_is_undefined_and_the_others_are_not() -> None:
    problem = quadratic(torch.diag(SPECTRUM))
    weights = torch.ones(3, 3)
    weights[1] = torch.inf
    labels = ("reference", "null", "gaussian-0.1@0#1")
    snapshot = Snapshot(0, labels, {"w": weights}, {}, torch.zeros(0, 3))
    found = sharpness(problem, snapshot)
    assert np.allclose(found[[0, 2]], 5.0)
    assert np.isnan(found[1])

    class Only:
        steps, labels = (0,), ("reference", "null", "gaussian-0.1@0#1")

        def at(self, step: int) -> Snapshot:
            return snapshot

    table = curvature_along(Only(), problem)
    assert table["reason"].tolist() == ["", DIVERGED, ""]
    density = density_along(Only(), problem, lanczos=3, points=50)
    assert density[density["reason"] == DIVERGED]["a"].tolist() == ["null"]
    assert len(density) == 101
    broken = Snapshot(0, labels, {"w": weights * torch.nan}, {}, torch.zeros(0, 3))
    assert np.isnan(sharpness(problem, broken)).all()


def test_following_gives_what_the_engine_trains() -> None:
    """But for rounding: the engine's loop calls the optimizer itself, this its pure form."""
    problem = replace(task("mlp-noisy", "adam"), steps=6)
    result = run(problem, record_every=3, metrics=("l2",), driver="loop", dtype=torch.float64)
    hessian = Hessian(problem)
    for moment in states_along(problem, (0, 3, 6)):
        params, _ = hessian.point(result.trajectory.at(moment.step))
        assert torch.allclose(moment.state.params, params[0], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "adagrad", "adamw"])
def test_preconditioned_sharpness_equals_the_written_out_product(optimizer: str) -> None:
    problem = replace(task("mlp", optimizer), steps=5)
    hessian = Hessian(problem)
    (found,) = against_threshold(problem, (5,), hessian=hessian, tolerance=1e-9)
    (moment,) = states_along(problem, (5,))
    assert hessian.step.optimizer is not None
    scale = preconditioner(hessian.step.optimizer, moment.state.slots, 5)
    assert scale is not None
    matrix = hessian.at(moment.state.params).dense()[0] / scale[:, None]
    exact = float(torch.linalg.eigvals(matrix).real.max())
    assert found.curvature == pytest.approx(exact, rel=1e-8)
    assert found.sharpness != found.curvature


def test_the_l2_penalty_is_part_of_the_curvature() -> None:
    problem = quadratic(torch.diag(SPECTRUM), lr=0.05, momentum=0.5, weight_decay=0.25)
    (found,) = against_threshold(problem, (3,))
    assert found.sharpness == pytest.approx(5.0)
    assert found.curvature == pytest.approx(5.25)
    assert found.threshold == pytest.approx(60.0)


def test_bad_requests() -> None:
    problem = quadratic(torch.diag(SPECTRUM), steps=4)
    result = run(problem, record_every=4, metrics=("l2",), driver="loop")
    with pytest.raises(RequestError, match="step 3 was not recorded"):
        curvature_along(result, problem, steps=(3,))
    with pytest.raises(RequestError, match="no replica 'refrence'"):
        curvature_along(result, problem, labels=("refrence",))
    with pytest.raises(RequestError, match="the run has 0 to 4"):
        list(states_along(problem, (5,)))
    with pytest.raises(DriverError):
        list(states_along(task("mlp", torch.optim.LBFGS), (1,)))


def test_sharpness_depends_on_the_samples_and_not_on_their_order() -> None:
    problem = digits_tanh(n=60, steps=1)
    result = run(problem, metrics=("l2",), driver="loop", record_every=1)
    snapshot = result.trajectory.at(1)
    order = list(range(59, -1, -1))
    one = sharpness(problem, snapshot, hessian=Hessian(problem), tolerance=1e-6)
    two = sharpness(problem, snapshot, hessian=Hessian(problem, samples=order), tolerance=1e-6)
    few = sharpness(problem, snapshot, hessian=Hessian(problem, samples=30), tolerance=1e-6)
    assert np.allclose(one, two, rtol=1e-9)
    assert not np.allclose(one, few, rtol=1e-3)
