"""The study of chaos at the edge: its numbers on planted sweeps, and a small run of it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from published import small_run

from wingbeat.errors import RequestError
from wingbeat.studies.chaos_at_edge import ChaosPlan
from wingbeat.studies.chaos_at_edge.claims import claims
from wingbeat.studies.chaos_at_edge.found import runs_of, seeds_of, tables_of
from wingbeat.studies.chaos_at_edge.measure import first_below
from wingbeat.studies.left_over import left_over
from wingbeat.study.analysis import Analysis

RATES = 0.1 * 2.0 ** np.arange(6)


def sweep(seeds: int = 5, *, helps: float = 0.0, faster: float = 0.0, tied: float = 0.0):
    """Plant a sweep: at its edge from the fourth or third rate on, chaotic from the fifth.

    ``helps``: accuracy that chaos adds; ``faster``: doublings of speed beyond the step; ``tied``:
    accuracy for each e-fold of growth, at one rate.
    """
    rows = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        for place, lr in enumerate(RATES):
            wild, lost = place >= 4, place == 5 and seed == 0
            growth = (2.0 if wild else 0.2) + 0.1 * rng.normal() if place else 0.0
            steps = 400 / (place + 1) ** 1.2 / 2 ** (faster * wild) * np.exp(0.02 * rng.normal())
            accuracy = 0.9 + helps * wild + tied * growth + 0.001 * rng.normal()
            values = {
                "lambda_max": growth / 300, "final_loss": 0.1,
                "sharpness_ratio": min(1.02, 0.3 * (place + 1 + seed % 2)),
                "test_accuracy": accuracy, "test_loss": 0.3,
                "steps_to_target": steps,
            }  # fmt: skip
            if lost:
                values = dict.fromkeys(values, math.nan)
            rows.append({"net": "dense", "lr": lr, "seed": seed, "steps": 300, **values})
    return pd.DataFrame(rows)


def verdicts(**planted):
    found = Analysis(ChaosPlan(), None, {"seeds": seeds_of(sweep(**planted))})
    return {c.ident.removesuffix("-dense"): c.verdict for c in claims(found)}


@pytest.mark.parametrize(
    ("claim", "planted", "verdict"),
    [
        ("edge-first", {}, "holds"),
        ("fastest-is-chaotic", {}, "holds"),
        ("faster", {}, "holds"),
        ("beyond-the-step", {}, "fails"),
        ("beyond-the-step", {"faster": 4.0}, "holds"),
        ("better", {"helps": 0.05}, "holds"),
        ("better", {"helps": -0.05}, "fails"),
        ("better-at-edge", {"helps": 0.05}, "holds"),
        ("better-at-edge", {"helps": -0.05}, "fails"),
        ("at-one-rate-better", {"tied": 0.02, "seeds": 8}, "holds"),
        ("at-one-rate-better", {"tied": -0.02, "seeds": 8}, "fails"),
        # A rate that is better and more chaotic says nothing of chaos at one rate.
        ("at-one-rate-better", {"helps": 0.05}, "undetermined"),
        ("better", {"seeds": 2, "helps": 0.05}, "undetermined"),
    ],
)
def test_verdicts_on_planted_sweeps(claim, planted, verdict):
    assert verdicts(**planted)[claim] == verdict


def test_a_rate_at_which_a_run_breaks_down_has_no_mean_and_says_so():
    last = tables_of(sweep())["rates"].iloc[-1]
    assert (last["divergent"], last["chaotic"], last["laminar"]) == (1, 4, 0)
    assert math.isnan(last["test_accuracy"])
    assert last["test_accuracy_reason"] == "diverged"


def test_what_is_left_over_has_neither_rate_nor_seed_in_it():
    rows = sweep(4)[["lr", "seed"]]
    rows["value"] = 3.0 * rows["lr"] + 5.0 * rows["seed"]
    assert np.allclose(left_over(rows, "value", "lr"), 0.0)
    rows.loc[0, "value"] = math.nan  # the whole rate is left out
    assert left_over(rows, "value", "lr").isna().sum() == 4


def test_the_first_step_at_a_loss():
    assert first_below([0.5, 0.3, 0.1], 0.3) == 1.0
    assert math.isnan(first_below([0.5, math.nan], 0.3))


@pytest.mark.parametrize("wrong", [{"rates": (0.1, 0.2)}, {"nets": ("mlp",)}, {"seeds": 0}])
def test_what_cannot_be_run_is_refused(wrong):
    with pytest.raises(RequestError):
        ChaosPlan(**wrong)


@pytest.mark.slow
def test_a_small_sweep_has_a_page_and_tables_that_follow_from_it(tmp_path: Path):
    found = small_run("chaos_at_edge", tmp_path)
    rows = found.study.conditions
    assert runs_of(rows).equals(found.tables["runs"])
    assert (found.tables["rates"]["runs"] == 2).all()
    assert len(found.claims) == 8
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "what a sceptic would say" in text
    again = tables_of(pd.read_csv(tmp_path / "runs.csv"))
    pd.testing.assert_frame_equal(again["seeds"], found.tables["seeds"])
