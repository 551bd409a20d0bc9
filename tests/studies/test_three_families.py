"""The study of families: verdicts on planted runs, shares of variance, and a small run."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from published import file_of, small_run

from wingbeat.errors import RequestError
from wingbeat.studies.three_families import FamiliesPlan
from wingbeat.studies.three_families.claims import claims
from wingbeat.studies.three_families.found import explained, runs_of, seeds_of, tables_of
from wingbeat.studies.three_families.measure import growth
from wingbeat.studies.three_families.plan import SHAPES
from wingbeat.study.analysis import Analysis
from wingbeat.tasks.digit_families import family_net

RATES = (0.002, 0.005, 0.0125)


def planted(seeds=5, *, family=(0.0, 0.0, 0.0), rate=0.0, accuracy=0.0, matched=None, lost=()):
    """Plant ln growth as a sum of what the family, the rate and the accuracy at the end do."""
    rows = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        for (i, name), size, lr in product(
            enumerate(("dense", "cnn", "transformer")), ("small", "large"), RATES
        ):
            skill = rng.normal()
            log = 2 + family[i] + rate * np.log(lr) + accuracy * skill + 0.05 * rng.normal()
            at = (family if matched is None else matched)[i] + 0.05 * rng.normal()
            missing = (name, size) in lost
            rows.append(
                {
                    "family": name, "size": size, "lr": lr, "seed": seed, "weights": 1000.0,
                    "accuracy_end": 0.9 + 0.01 * skill, "disagreement_end": 0.1,
                    "log_growth": log, "step_matched": math.nan if missing else 20.0,
                    "log_growth_matched": math.nan if missing else at,
                    "relative_matched": math.nan if missing else 0.1,
                    "disagreement_matched": math.nan if missing else 0.1 + 0.1 * at,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def verdicts(**how):
    found = Analysis(FamiliesPlan(), None, {"seeds": seeds_of(planted(**how))})
    return {c.ident: c.verdict for c in claims(found)}


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (
            {"family": (0.0, 2.0, -2.0)},
            {"cnn-dense-log_growth": "holds", "transformer-dense-log_growth": "fails",
             "transformer-cnn-log_growth_matched": "fails", "family-over-lr": "holds",
             "family-over-accuracy": "holds", "family-beyond": "holds"},
        ),
        (
            {"family": (0.0, 2.0, 2.0), "matched": (0.0, 0.0, 0.0)},
            {"cnn-dense-log_growth": "holds", "cnn-dense-log_growth_matched": "undetermined"},
        ),
        ({"rate": 2.0}, {"family-over-lr": "fails", "family-beyond": "fails"}),
        ({"accuracy": 2.0}, {"family-over-accuracy": "fails", "family-beyond": "fails"}),
        # A cell that one family never reaches is left out for all of them.
        ({"family": (0.0, 2.0, 0.0), "lost": [("transformer", "small")]},
         {"cnn-dense-log_growth_matched": "holds"}),
        ({"lost": [("transformer", "small"), ("transformer", "large")]},
         {"cnn-dense-log_growth_matched": "undetermined"}),
    ],
)  # fmt: skip
def test_verdicts_on_planted_runs(how, expected):
    found = verdicts(**how)
    assert {claim: found[claim] for claim in expected} == expected


def test_shares_of_variance_are_those_of_a_balanced_analysis():
    """Against sums of squares between levels, by hand."""
    runs = planted(1, family=(0.0, 1.0, 3.0), rate=0.5)
    y = runs["log_growth"]
    between = ((runs.groupby("family")["log_growth"].transform("mean") - y.mean()) ** 2).sum()
    share = seeds_of(runs)["share_family"].iloc[0]
    assert share == pytest.approx(between / ((y - y.mean()) ** 2).sum())
    assert math.isnan(explained(np.ones(4), [np.arange(4.0)[:, None]]))


def test_growth_is_the_geometric_mean_over_copies():
    rows = [
        {"metric": "l2", "layer": "", "a": "reference", "b": b, "step": step, "value": value}
        for b, values in (("g@0#0", (1.0, 4.0)), ("g@0#1", (2.0, 2.0)), ("null", (0.0, 0.0)))
        for step, value in zip((0, 10), values, strict=True)
    ]
    assert growth(pd.DataFrame(rows)).tolist() == pytest.approx([1.0, 2.0])


@pytest.mark.parametrize("size", SHAPES)
def test_families_have_equally_many_weights(size):
    counts = [
        sum(p.numel() for p in family_net(f, s).parameters()) for f, s in SHAPES[size].items()
    ]
    assert max(counts) / min(counts) < 1.04


def test_what_cannot_be_run_is_refused():
    with pytest.raises(RequestError):
        FamiliesPlan(rates=(0.1,))
    with pytest.raises(RequestError):
        FamiliesPlan(accuracy=75.0)


@pytest.mark.slow
def test_a_small_run_has_a_page_and_tables_that_follow_from_it(tmp_path: Path):
    found, plan = small_run("three_families", tmp_path), file_of("three_families", quick=True).plan
    assert runs_of(found.study.conditions, plan).equals(found.tables["runs"])
    assert sorted(found.tables["runs"]["weights"].unique()) == [
        1107.0, 1135.0, 1146.0, 3818.0, 3835.0, 3870.0,
    ]  # fmt: skip
    assert "what a sceptic would say" in (tmp_path / "report.html").read_text(encoding="utf-8")
    again = tables_of(pd.read_csv(tmp_path / "runs.csv"))
    pd.testing.assert_frame_equal(again["seeds"], found.tables["seeds"])
