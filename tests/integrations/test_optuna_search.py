"""Optuna drives conditions: the optimum is found, objectives are those of the records."""

from __future__ import annotations

import sys
from pathlib import Path

import optuna
import pytest

from wingbeat.errors import RequestError
from wingbeat.integrations.optuna import REASON, search
from wingbeat.study.condition import Condition
from wingbeat.study.ledger import Ledger

optuna.logging.set_verbosity(optuna.logging.WARNING)
sys.path.append(str(Path(__file__).resolve().parents[1] / "study"))
PLACE = "wingbeat.testing.runners:line"
RATES = [0.05, 0.1, 0.3]


def propose(trial: optuna.Trial) -> Condition:
    lr = trial.suggest_categorical("lr", RATES)
    return Condition(PLACE, {"lr": lr}, replicas=3, metrics=("l2", "train_loss"))


def proposing(rates: list[float], **options: object) -> optuna.Study:
    """Return an Optuna study whose first proposals are these rates."""
    study = optuna.create_study(**options)
    for lr in rates:
        study.enqueue_trial({"lr": lr})
    return study


def test_the_best_trial_is_the_best_condition(tmp_path: Path) -> None:
    """Three conditions proposed twice: each is trained once, and λ falls with the rate."""
    study = proposing(RATES)
    found = search(study, propose, ["lyapunov"], tmp_path, trials=3, batch=2)
    assert len(study.trials) == 3
    by_rate = {t.params["lr"]: t.value for t in study.trials}
    assert study.best_params == {"lr": 0.3}
    assert by_rate[0.3] < by_rate[0.1] < by_rate[0.05] < 0
    assert sorted(found.conditions["lyapunov"]) == sorted(by_rate.values())
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.glob("records/*/record.json")}
    again = proposing(RATES[::-1])
    search(again, propose, ["lyapunov"], tmp_path, trials=3)
    assert {t.params["lr"]: t.value for t in again.trials} == by_rate
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("records/*/record.json")} == stamps


def test_several_objectives_and_functions_of_the_record(tmp_path: Path) -> None:
    study = proposing(RATES[:2], directions=["minimize", "maximize"])
    objectives = ["lyapunov", lambda facts: facts["condition"]["arguments"]["lr"]]
    search(study, propose, objectives, tmp_path, trials=2)
    assert [t.params["lr"] for t in study.best_trials] == [0.1]
    assert study.best_trials[0].values[1] == 0.1


def test_failures_and_undefined_values_are_told_with_their_reason(tmp_path: Path) -> None:
    """One condition fails; of the other, no exponent is defined, as nothing was recorded."""
    study = optuna.create_study()
    search(study, lambda _: Condition("study_tasks:poison"), ["lyapunov"], tmp_path, trials=1)
    single = Condition(PLACE, {"steps": 1}, replicas=3, record_every=1, metrics=("l2",))
    search(study, lambda _: single, [undefined], tmp_path, trials=1)
    assert [t.state.name for t in study.trials] == ["FAIL", "FAIL"]
    assert "poison" in study.trials[0].user_attrs[REASON]
    assert study.trials[1].user_attrs[REASON] == "objective: nan"
    assert Ledger(tmp_path).is_done(single.key)


def undefined(facts: dict) -> float:
    return float("nan")


def test_wrong_requests(tmp_path: Path) -> None:
    study = optuna.create_study()
    with pytest.raises(RequestError, match="give a list"):
        search(study, propose, ["lyapunov", "l2"], tmp_path, trials=1)
    with pytest.raises(RequestError, match="trials is 0"):
        search(study, propose, ["lyapunov"], tmp_path, trials=0)
    with pytest.raises(RequestError, match="return a Condition"):
        search(study, lambda _: 3, ["lyapunov"], tmp_path, trials=1)
    with pytest.raises(RequestError, match="did you mean 'lyapunov'"):
        search(study, propose, ["lyapunow"], tmp_path, trials=1)
    with pytest.raises(RequestError, match="is a word"):
        search(study, propose, ["behavior"], tmp_path, trials=1)
