"""A search is a function of its request: rounds of trials, and studies that go on from results."""

from __future__ import annotations

import optuna
import pytest
import study_tasks  # noqa: F401  (conditions name it)

from wingbeat.errors import RequestError
from wingbeat.study.condition import Condition
from wingbeat.study.ledger import Ledger
from wingbeat.study.run import run_study
from wingbeat.study.search import REASON, replay

optuna.logging.set_verbosity(optuna.logging.WARNING)
ROUND = 4


def fresh() -> optuna.Study:
    """Return a study without trials; equal seeds give equal proposals."""
    own = optuna.samplers.TPESampler(n_startup_trials=ROUND, constant_liar=True, seed=7)
    return optuna.create_study(directions=["minimize", "maximize"], sampler=own)


def condition(lr: float, place: int) -> Condition:
    return Condition(
        "study_tasks:line",
        {"lr": lr, "steps": 2},
        replicas=1,
        metrics=("l2",),
        tags={"place": place},
    )


def proposed(trial: optuna.Trial) -> Condition:
    trial.suggest_categorical("word", ["a", "b"])
    return condition(trial.suggest_float("lr", 1e-3, 0.5, log=True), trial.number)


def values(one: Condition) -> list[float]:
    return [one.arguments["lr"], (one.arguments["lr"] - 0.1) ** 2]


def test_trials_are_those_of_a_loop_that_asks_and_tells():
    """Whoever goes through it round by round, each time from the start, finds the same trials."""
    by_hand, wanted = fresh(), []
    for _ in range(3):
        own = [by_hand.ask() for _ in range(ROUND)]
        asked = [proposed(trial) for trial in own]
        for trial, one in zip(own, asked, strict=True):
            by_hand.tell(trial, values(one))
        wanted += [one.key for one in asked]
    known: dict[str, list[float]] = {}

    def of(one: Condition) -> list[float] | None:
        return known.get(one.key)

    while more := replay(fresh(), proposed, of, trials=3 * ROUND, batch=ROUND):
        assert [one.key for one in more] == wanted[len(known) : len(known) + ROUND]
        known.update({one.key: values(one) for one in more})
    assert list(known) == wanted


def test_a_round_is_told_when_all_of_it_is_known_and_failures_with_their_reason():
    known: dict[int, list[float] | str] = {0: [1.0, 1.0], 1: "diverged", 2: [float("nan"), 1.0]}

    def of(one: Condition) -> list[float] | str | None:
        return known.get(one.tags["place"])

    study = fresh()
    assert len(replay(study, proposed, of, trials=8, batch=4)) == 4
    assert {trial.state.name for trial in study.trials} == {"RUNNING"}
    known[3] = [2.0, 2.0]
    study = fresh()
    assert [c.tags["place"] for c in replay(study, proposed, of, trials=6, batch=4)] == [4, 5]
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE", "FAIL", "FAIL", "COMPLETE", "RUNNING", "RUNNING"]
    assert study.trials[1].user_attrs[REASON] == "diverged"
    with pytest.raises(RequestError, match="batch 0"):
        replay(fresh(), proposed, of, trials=6, batch=0)


def test_a_study_goes_on_from_what_it_has_found(tmp_path):
    """Each round is asked for with all that is known; one that names nothing new is the last."""
    rates, seen = [0.1, 0.2, 0.4], []

    def further(found):
        seen.append(found.conditions["place"].tolist())
        following = len(found.conditions)
        return [condition(rates[k], k) for k in range(min(following + 1, len(rates)))]

    ended: list[tuple[int, int]] = []
    found = run_study(
        [condition(rates[0], 0)], tmp_path, further=further,
        progress=lambda _, count, total: ended.append((count, total)),
    )  # fmt: skip
    assert [sorted(places) for places in seen] == [[0], [0, 1], [0, 1, 2]]
    assert ended == [(1, 1), (2, 2), (3, 3)]
    assert found.conditions["status"].tolist() == ["done"] * 3
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.glob("records/*/record.json")}
    again = run_study([condition(rates[0], 0)], tmp_path, further=further)
    assert again.conditions.equals(found.conditions)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("records/*/record.json")} == stamps


def test_what_failed_is_known_as_failed_and_not_tried_in_each_round(tmp_path):
    bad = Condition("study_tasks:poison", tags={"place": 0})
    states = []

    def further(found):
        states.append(sorted(found.conditions["status"]))
        return [condition(0.1, 1)] if len(found.conditions) == 1 else []

    found = run_study([bad], tmp_path, further=further, tries=1)
    assert states == [["failed"], ["done", "failed"]]
    assert [record.key for record in found.failures] == [bad.key]
    ends = [e for e in Ledger(tmp_path).events() if e["key"] == bad.key and e["event"] == "failed"]
    assert len(ends) == 1
