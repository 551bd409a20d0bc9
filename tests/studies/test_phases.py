"""What the study of phases reads off a run, from curves whose phases are planted."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from published import small_run

from wingbeat.errors import NOT_REACHED
from wingbeat.studies.phases import AlongPlan
from wingbeat.studies.phases.measure import CURVES, agreement, curve, marks, onset, settled
from wingbeat.studies.phases.page import _changes
from wingbeat.studies.phases.plan import conditions
from wingbeat.study.analysis import Analysis

STEPS = np.arange(0, 410, 10)


def planted(**changes):
    t = STEPS / 400
    found = {name: np.ones(len(t)) for name in CURVES}
    found["train_loss"] = np.exp(-20 * t)
    found["accuracy"] = 1 - np.exp(-5 * t)
    found["local_elasticity"] = 1 + t
    found["kernel_motion"] = np.where(t <= 0.25, 0.01, 1e-4) * (t > 0)
    found["activation_flips_step"] = np.where(t <= 0.25, 0.3, 0.01) * (t > 0)
    found["unit_drift_step"] = np.where(t <= 0.25, 0.1, 0.02) * (t > 0)
    found["drift_loss_change"] = np.diff(found["train_loss"], prepend=1.0)
    found["unit_cosine_start"] = 1 - 0.5 * t
    found["nc1"] = np.exp(-3 * t)
    return {k: pd.Series(v, index=STEPS) for k, v in {**found, **changes}.items()}


@pytest.mark.parametrize("epochs", [1, 20])
def test_the_plan_says_as_many_updates_as_are_trained(epochs):
    """1,400 images are 21 batches of 64 and one of 56."""
    plan = AlongPlan(epochs=epochs)
    (condition,) = conditions(AlongPlan(epochs=epochs, seeds=1))
    assert plan.steps == condition.task().steps == 22 * epochs
    if epochs == 20:
        shares = [p["at"] / plan.steps for p in condition.perturbations]
        assert shares == [0.0, 0.05, 0.1, 0.25, 0.5]


def test_marks_of_planted_phases():
    found = {name: entry["value"] for name, entry in marks(planted()).items()}
    assert found["first_fall"] == pytest.approx(0.05)
    assert found["kernel_settled"] == pytest.approx(0.25)
    assert found["flips_early"] == pytest.approx(3.0 / 3.3)
    assert found["late_drift"] == pytest.approx(0.2)
    assert found["late_loss"] < 1e-6
    assert found["elastic_separable"] == 1.0
    assert (found["elasticity_gain"], found["turned"]) == (1.0, 0.5)
    assert found["collapse"] == pytest.approx(math.exp(-3))


def test_what_does_not_end_says_so():
    moving = marks(planted(kernel_motion=np.linspace(0, 1, len(STEPS))))
    assert moving["kernel_settled"]["reason"] == NOT_REACHED
    assert math.isnan(settled(pd.Series([0.0, 1.0], index=[0, 10])))
    assert math.isnan(agreement(pd.Series([1.0, 1.0, 1.0]), pd.Series([1.0, 2.0, 3.0])))


def table(barriers):
    rows = [
        {"metric": "barrier_error_train", "step": 100, "a": "reference", "layer": "",
         "b": f"gaussian-0.01@{at}#{i}", "perturbation": f"gaussian-0.01@{at}", "value": value}
        for at, values in barriers.items() for i, value in enumerate(values)
    ]  # fmt: skip
    twin = {**rows[0], "b": "null", "perturbation": "null", "value": 0.0}
    return pd.DataFrame([*rows, twin])


def test_the_onset_is_the_first_fork_from_which_on_all_stay():
    assert onset(table({0: [0.3, 0.0], 20: [0.0, 0.01], 50: [0.0, 0.0]}))["value"] == 0.2
    assert onset(table({0: [0.0, 0.0], 20: [0.0, 0.3], 50: [0.0, 0.0]}))["value"] == 0.5
    assert onset(table({0: [0.3], 50: [0.3]}))["reason"] == NOT_REACHED
    undefined = onset(table({0: [0.0], 50: [float("nan")]}))
    assert undefined["reason"] == NOT_REACHED


def test_a_curve_is_the_references_mean_over_layers():
    rows = pd.DataFrame(
        {
            "metric": "nc1", "step": [0, 10, 10, 10], "b": ["reference"] * 3 + ["null"],
            "layer": ["", "", "x", ""], "value": [1.0, 2.0, 9.0, 8.0],
        }
    )  # fmt: skip
    assert curve(rows, "nc1").to_dict() == {0: 1.0, 10: 2.0}


def test_moments_stand_upright_among_the_curves(monkeypatch):
    curves = {name: (list(STEPS), list(values)) for name, values in planted().items()}
    monkeypatch.setattr(
        "wingbeat.studies.phases.page.series", lambda study, key, name: curves[name]
    )
    rows = pd.DataFrame(
        [{"status": "done", "seed": s, "key": "k", "first_fall": 0.05, "onset": math.nan,
          "kernel_settled": 0.25 + s, "steps": 440} for s in (1, 0)]
    )  # fmt: skip
    study = type("Study", (), {"conditions": rows})()
    lines = {line.name: line for line in _changes(Analysis(AlongPlan(), study)).lines}
    assert "copies stay from" not in lines
    assert lines["kernel settles"].x == (110.0, 110.0)
    assert lines["kernel settles"].y == (0.0, 1.0)
    assert lines["training loss"].y[0] == 1.0
    assert lines["motion of the tangent kernel"].x[0] == STEPS[1]  # a first record has no former
    assert lines["motion of the tangent kernel"].y[0] == 1.0


@pytest.mark.slow
def test_a_quick_run_has_a_page_and_a_verdict_for_every_claim(tmp_path):
    found = small_run("phases", tmp_path)
    assert (tmp_path / "report.html").exists()
    assert (tmp_path / "marks.csv").exists()
    assert len(found.claims) == 6
