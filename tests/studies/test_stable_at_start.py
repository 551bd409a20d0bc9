"""The study of stable settings: its search, its frontier, verdicts on planted runs, a small run."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from published import small_run

from wingbeat.errors import RequestError
from wingbeat.studies.stable_at_start import StablePlan
from wingbeat.studies.stable_at_start.claims import claims
from wingbeat.studies.stable_at_start.found import (
    ASKED,
    KEPT,
    by_setting,
    knobs,
    last_calm,
    runs_of,
    seeds_of,
    tables_of,
)
from wingbeat.studies.stable_at_start.page import headline
from wingbeat.studies.stable_at_start.plan import CHOSEN, FRESH, LANDMARK, SEARCH, conditions
from wingbeat.studies.stable_at_start.rounds import frontier, further, picked
from wingbeat.studies.stable_at_start.settings import LANDMARKS
from wingbeat.study.analysis import Analysis
from wingbeat.study.outcome import asked

SMALL = StablePlan(trials=12, round=4, chosen=3, seeds=2)
FRONT = {"trial 1": (0.001, 0.92), "trial 4": (0.02, 0.94), "trial 9": (0.3, 0.96)}
"""Barrier and accuracy of a planted frontier, as the search sees them."""


def made(condition):
    """Return a row of the table of conditions whose numbers are a function of the setting."""
    rate = condition.arguments["lr"]
    values = {"barrier": rate, "test_accuracy": 0.99 - 1 / (1 + 2000 * rate)}
    return {**asked(condition), "status": "done", **values}


def test_a_search_goes_through_its_rounds_and_runs_its_frontier_again():
    """Twice the same conditions; the second time it is interrupted in the middle of a round."""
    plan, ways = SMALL, []
    for interrupted in (False, True):
        grid = conditions(plan)
        rows = [made(c) for c in grid]
        while more := further(plan, SimpleNamespace(conditions=pd.DataFrame(rows))):
            rows += [made(c) for c in more]
            if interrupted:
                half = rows[:-2] + [{**r, "status": "not run"} for r in rows[-2:]]
                left = further(plan, SimpleNamespace(conditions=pd.DataFrame(half)))
                keys = {c.key for c in left}
                assert {r["key"] for r in rows[-2:]} <= keys
            if rows[-1]["phase"] == CHOSEN:
                break
        ways.append([row["key"] for row in rows])
        table = pd.DataFrame(rows)
        assert table["phase"].value_counts().to_dict() == {
            SEARCH: 12, LANDMARK: 2 * len(LANDMARKS), CHOSEN: 6,
        }  # fmt: skip
        chosen = table[table["phase"] == CHOSEN]
        assert set(chosen["seed"]) == {FRESH, FRESH + 1}
        assert set(chosen["arguments"]) <= set(table[table["phase"] == SEARCH]["arguments"])
    assert ways[0] == ways[1]
    done = SimpleNamespace(conditions=table)
    assert {c.key for c in further(plan, done)} == set(chosen["key"])  # nothing that is new


def test_trials_stay_within_what_may_be_chosen():
    searched = [c for c in conditions(StablePlan(round=40, trials=40)) if c.tags["phase"] == SEARCH]
    rates = np.array([c.arguments["lr"] for c in searched])
    assert 1e-6 < rates.min() < 1e-4
    assert 1e-2 < rates.max() < 1.0
    assert {c.arguments["norm"] for c in searched} == {"none", "layer", "batch"}
    assert {c.arguments["width"] for c in searched} == {16, 32, 64, 128}


def test_the_frontier_is_what_nobody_beats():
    rng = np.random.default_rng(0)
    barrier = rng.random(200).round(2)
    rows = pd.DataFrame(
        {"barrier": barrier, "test_accuracy": (barrier**0.5 - 0.3 * rng.random(200)).round(2)}
    )
    rows.loc[0, "barrier"] = math.nan
    pairs = rows.dropna().to_numpy()
    best = [
        (b, a) for b, a in pairs
        if not any((x <= b and y >= a) and (x < b or y > a) for x, y in pairs)
    ]  # fmt: skip
    found = frontier(rows)
    assert sorted(set(best)) == list(found.itertuples(index=False, name=None))
    few = picked(rows, 0.5, 3)
    assert len(few) == 3
    assert few["test_accuracy"].min() >= 0.5
    learned = found[found["test_accuracy"] >= 0.5]
    assert few.iloc[[0, -1]].equals(learned.iloc[[0, -1]])


def planted(seeds=6, *, calm=0.001, middle=0.002, top=0.3, aligned=0.1, curse=0.0, linear=0.9,
            usual=0.93, usual_barrier=0.05):  # fmt: skip
    """Plant a search with a frontier of three, its settings again, and the landmarks."""
    rows = []

    def add(phase, name, seed, barrier, accuracy, movement):
        rng = np.random.default_rng([seed, len(rows)])
        shift = 1 + 0.05 * rng.normal()
        values = dict.fromkeys(KEPT, 0.0) | {
            "phase": phase, "setting": name, "seed": seed, "barrier": barrier * shift,
            "aligned": barrier * shift * aligned, "order_train": barrier * shift,
            "nudge_train": barrier / 2, "test_accuracy": accuracy + 0.001 * rng.normal(),
            "movement": movement * (1 + 0.9 * rng.random()), "optimizer": "sgd", "decay": "none",
            "norm": "none",
        }  # fmt: skip
        rows.append(values)

    for name, (barrier, accuracy) in FRONT.items():
        add(SEARCH, name, 0, barrier, accuracy, 0.5)
    fresh = dict(zip(FRONT, (calm, middle, top), strict=True))
    for seed in range(FRESH, FRESH + seeds):
        for name, (_, accuracy) in FRONT.items():
            add(CHOSEN, name, seed, fresh[name] + curse, accuracy, fresh[name])
        for name in LANDMARKS:
            barrier = usual_barrier if name.startswith(("usual", "fast")) else 0.0
            add(LANDMARK, name, seed, barrier, linear if name == "linear" else usual, barrier)
    return pd.DataFrame(rows)


def verdicts(**how):
    seeds = seeds_of(planted(**how))
    return {c.ident: c.verdict for c in claims(Analysis(StablePlan(), None, {"seeds": seeds}))}


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({}, {"stable": "holds", "learns": "holds", "beyond-linear": "holds",
              "beyond-usual": "fails", "costs": "holds", "reach-costs": "holds",
              "accurate-unstable": "holds", "usual-adamw": "holds", "alignment": "holds",
              "order": "holds", "movement": "holds"}),
        ({"calm": 0.05}, {"stable": "fails", "reach-costs": "undetermined"}),
        ({"top": 0.004, "usual_barrier": 0.001},
         {"accurate-unstable": "fails", "usual-sgd": "fails"}),
        ({"linear": 0.95, "usual": 0.9}, {"beyond-linear": "fails", "beyond-usual": "holds"}),
        ({"curse": 0.1}, {"curse": "holds", "stable": "fails"}),
        ({"calm": 0.0005, "middle": 0.001, "top": 0.1}, {"curse": "fails"}),
        ({"seeds": 2}, {"stable": "undetermined", "costs": "undetermined"}),
    ],
)  # fmt: skip
def test_verdicts_on_planted_runs(how, expected):
    found = verdicts(**how)
    assert {claim: found[claim] for claim in expected} == expected


def test_the_last_calm_setting_is_before_the_first_that_is_not():
    assert last_calm(by_setting(planted())) == "trial 4"
    assert last_calm(by_setting(planted(middle=0.05, top=0.001))) == "trial 1"
    assert last_calm(by_setting(planted(calm=0.05))) == ""
    assert last_calm(by_setting(planted(seeds=2))) == ""  # no interval


def test_the_headline_answers():
    assert headline(by_setting(planted())).startswith(
        "Settings remove the barrier at the start up to an accuracy of 0.94 [0.93"
    )
    assert "has one of 0.295 [" in headline(by_setting(planted()))
    assert "all of the frontier" in headline(by_setting(planted(top=0.003)))
    assert headline(by_setting(planted(calm=0.5))).startswith("No setting")
    rows = planted()
    assert headline(by_setting(rows[rows["phase"] == SEARCH])) == ""


def test_before_the_frontier_is_run_again_there_are_no_claims():
    rows = planted()
    seeds = seeds_of(rows[rows["phase"] != CHOSEN])
    assert claims(Analysis(StablePlan(), None, {"seeds": seeds})) == ()


def test_what_goes_with_a_barrier_is_told_by_correlation_and_level():
    rows = planted(seeds=1)
    trials = rows[rows["phase"] == SEARCH].assign(
        lr=[0.1, 0.2, 0.3], norm=["none", "batch", "none"]
    )
    trials = pd.concat([trials, trials.assign(lr=0.4, barrier=0.5)])
    found = knobs(trials).set_index(["setting", "level"])
    assert found.loc[("lr", ""), "correlation_barrier"] > 0.9
    assert found.loc[("norm", "batch"), "mean_test_accuracy"] == pytest.approx(0.94, abs=0.01)


def test_a_setting_stands_in_columns_of_its_own():
    grid = conditions(SMALL)
    rows = runs_of(pd.DataFrame([made(c) for c in grid]))
    assert list(rows.columns) == list(KEPT)
    lazy = rows[rows["setting"] == "lazy"].iloc[0]
    assert lazy[list(ASKED)].to_dict() == {
        "optimizer": "sgd", "lr": 1e-4, "warmup": 0.0, "decay": "none", "weight_decay": 0.0,
        "batch_size": 64, "width": 128, "depth": 6, "norm": "none", "gain": 4.0,
    }  # fmt: skip
    trial = next(c for c in grid if c.tags["setting"] == "trial 2")
    own = rows[rows["setting"] == "trial 2"].iloc[0]
    assert {n: own[n] for n in ASKED} == {n: trial.arguments[n] for n in ASKED}
    assert json.loads(asked(trial)["perturbations"])[1]["kind"] == "order"


@pytest.mark.parametrize("wrong", [{"trials": 0}, {"chosen": 1}, {"floor": 1.0}, {"scale": 0.0}])
def test_what_cannot_be_run_is_refused(wrong):
    with pytest.raises(RequestError):
        StablePlan(**wrong)


@pytest.mark.slow
def test_a_small_search_has_a_page_and_goes_on_where_it_stopped(tmp_path):
    said: list[str] = []
    found = small_run("stable_at_start", tmp_path, say=said.append)
    runs = found.tables["runs"]
    assert runs_of(found.study.conditions).equals(runs)
    assert (runs["phase"] == SEARCH).sum() == 4
    assert (runs["phase"] == CHOSEN).any()
    assert len(found.claims) == 13
    measured = runs[runs["barrier"].notna()]  # a setting that is searched may break a training
    assert len(measured)
    assert (measured["barrier"] >= measured[["nudge_train", "order_test"]].max(axis=1)).all()
    linear = runs[runs["setting"] == "linear"]
    assert (linear["barrier"] < 1e-6).all()
    assert "what a sceptic would say" in (tmp_path / "report.html").read_text(encoding="utf-8")
    again = tables_of(pd.read_csv(tmp_path / "runs.csv"))
    pd.testing.assert_frame_equal(again["seeds"], found.tables["seeds"])
    before = len(said)
    small_run("stable_at_start", tmp_path, say=said.append)
    assert not [line for line in said[before:] if line.startswith("[")]  # nothing is trained again
