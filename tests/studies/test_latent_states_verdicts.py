"""Verdicts of the study of latent states on records whose numbers are planted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import pytest

from wingbeat.studies.curvature import number, word
from wingbeat.studies.latent_states import STUDY, StatesPlan
from wingbeat.studies.latent_states.claims import detours_removed
from wingbeat.studies.latent_states.found import explained
from wingbeat.studies.latent_states.measure import as_json
from wingbeat.study.analysis import Analysis
from wingbeat.study.ledger import Ledger
from wingbeat.study.outcome import collect

RUNS = 30
TWO_WAYS = [(0, 1, 12), (1, 2, 12), (0, 2, 18)]


@dataclass
class Planted:
    """What one condition found."""

    dissimilarity: tuple[float, ...] = (0.30, 0.31, 0.29, 0.30, 0.32)
    pooled: tuple[float, ...] = (0.0, 1.0, 0.0, 1.0, 0.0)
    each: tuple[float, ...] = (2.0, 3.0, 2.0, 3.0, 3.0)
    last_gain: tuple[float, ...] = (0.4, 0.5, 0.3, 0.4, 0.5)
    apart: tuple[float, ...] = (0.01, 0.02, 0.00, 0.01, 0.02)
    chosen: tuple[float, ...] = ()
    slope: float = 1.0
    detours: list = field(default_factory=list)

    def summary(self):
        r = np.random.default_rng(3)
        share = np.linspace(0.1, 0.6, RUNS)
        groups = {
            "dissimilarity_pooled": self.dissimilarity, "dissimilarity_each": self.dissimilarity,
            "optional_same_pooled": counts(self.pooled), "optional_same_each": counts(self.each),
            "last_gain_pooled": self.last_gain, "apart": self.apart,
        }  # fmt: skip
        groups |= {"optional_pooled": counts(self.pooled)}
        groups |= {"optional_each": counts(self.chosen or self.each)}
        for name, size in (("states", 1.0), ("r2", 0.4), ("r2_last", 0.4)):
            own = tuple(size * v for v in (1.0, 2.0, 1.0, 2.0, 1.0))
            groups |= {f"{name}_{score}": own for score in ("pooled", "each")}
        groups |= {"last_gain_each": self.last_gain}
        found = {f"{n}/{i}": number(v) for n, own in groups.items() for i, v in enumerate(own)}
        alone = {
            "runs": RUNS, "converged": 1.0, "converged_at": 100.0, "states": 3.0, "optional": 1.0,
            "dissimilarity": 0.3, "r2": 0.9, "r2_last": 0.8, "last_gain": 0.4, "apart_null": 0.0,
            "never_apart": 0.5,
        }  # fmt: skip
        tables = {
            "selection": {"states": [1, 2, 3], "held_out": [-9.0, -5.0, -3.0]},
            "nodes": {"state": [0, 1, 2], "runs": [30, 12, 30], "step": [10.0, 40.0, 90.0],
                      "share": [0.2, 0.2, 0.6], "accuracy": [0.1, 0.3, 0.95]},
            "edges": {"source": [a for a, _, _ in TWO_WAYS], "target": [b for _, b, _ in TWO_WAYS],
                      "runs": [n for _, _, n in TWO_WAYS], "step": [20.0, 60.0, 30.0],
                      "moved": ["matrix_l2 +1.00"] * 3},
            "detours": {"state": [s for s, _ in self.detours],
                        "verdict": [v for _, v in self.detours],
                        "delay": [50.0] * len(self.detours), "p": [0.01] * len(self.detours)},
            "parting": {"state": [0], "copies": [15], "step": [20.0]},
            "occupancy": {"run": [f"{i}/reference" for i in range(RUNS)],
                          "converged": self.slope * 100 * share + 5 * r.normal(size=RUNS),
                          "share_0": share, "share_1": 1 - share},
        }  # fmt: skip
        found |= {name: number(value) for name, value in alone.items()}
        return found | {n: word(as_json(pd.DataFrame(rows))) for n, rows in tables.items()}


def counts(more):
    """Return numbers of states, of which there are never fewer than none."""
    return tuple(2.0 + v for v in more)


def study(tmp_path, plain=None, norm=None, task="parity"):
    plan = StatesPlan(tasks=(task,))
    grid = STUDY.conditions(plan)
    ledger = Ledger(tmp_path)
    rows = pd.DataFrame({"metric": ["accuracy"], "value": [1.0]})
    for condition, planted in zip(grid, (plain, norm), strict=True):
        if planted is not None:
            facts = {
                "summary": planted.summary(), "noise_floor": 0.0, "warnings": [], "steps": 10,
                "steps_per_epoch": 1, "environment": {}, "seconds": 1.0, "processor_seconds": 1.0,
            }  # fmt: skip
            ledger.finish(condition, rows, facts)
    return plan, collect(ledger, grid, {})


def verdicts(*given):
    found = Analysis(*study(*given))
    claims = STUDY.claims(replace(found, tables=STUDY.tables(found)))
    found = {claim.ident: str(claim.verdict) for claim in claims}
    assert len(found) == 7
    return found


def test_what_is_planted_is_found(tmp_path):
    alike = Planted(dissimilarity=(0.02, 0.03, 0.02, 0.03, 0.02))
    fewer = (-1.0, 0.0, -1.0, -1.0, -1.0)
    plain = Planted(detours=[(1, "detour")], chosen=fewer)
    alike.chosen = fewer
    found = verdicts(tmp_path, plain, alike)
    assert found == {
        "forks-same": "holds", "forks-chosen": "fails",
        "norm-aligns": "holds", "norm-detours": "holds",
        "elbow": "fails", "occupancy": "holds", "twins": "holds",
    }  # fmt: skip


def test_the_opposite_fails(tmp_path):
    flat = (-0.4, -0.5, -0.3, -0.4, -0.5)
    plain = Planted(
        each=(0.0, 0.0, -1.0, 0.0, -1.0), chosen=(3.0, 4.0, 3.0, 3.0, 3.0),
        last_gain=flat, slope=0.0,
        apart=(0.3, 0.4, 0.3, 0.2, 0.3), detours=[(1, "no detour")],
    )  # fmt: skip
    far = Planted(
        dissimilarity=(0.5, 0.51, 0.49, 0.52, 0.5), each=(0.0, 0.0, -1.0, 0.0, -1.0),
        chosen=(3.0, 4.0, 3.0, 3.0, 3.0), detours=[(1, "undetermined")],
    )  # fmt: skip
    assert verdicts(tmp_path, plain, far) == {
        "forks-same": "fails", "forks-chosen": "holds",
        "norm-aligns": "fails", "norm-detours": "fails",
        "elbow": "holds", "occupancy": "fails", "twins": "fails",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("plain", "norm", "expected"),
    [
        (["detour"], [], "holds"),
        (["no detour", "detour"], ["no detour"], "holds"),
        (["detour"], ["undetermined"], "undetermined"),
        (["undetermined"], [], "undetermined"),
        (["no detour", "undetermined"], [], "undetermined"),
        (["no detour"], [], "fails"),
        ([], [], "fails"),
        (["detour"], ["detour"], "fails"),
    ],
)
def test_detours_are_removed_only_where_there_was_one_and_all_were_tested(plain, norm, expected):
    rows = [("parity", norm_, v) for norm_, own in ((False, plain), (True, norm)) for v in own]
    tables = {
        "nodes": pd.DataFrame({"task": ["parity"] * 2, "normalised": [False, True]}),
        "detours": pd.DataFrame(rows, columns=["task", "normalised", "verdict"]),
    }
    found = Analysis(StatesPlan(tasks=("parity",)), None, tables)
    assert str(detours_removed(found, "parity")) == expected


def test_half_a_study_says_what_was_not_run(tmp_path):
    found = verdicts(tmp_path, Planted(detours=[(1, "detour")]), None)
    assert (found["norm-aligns"], found["norm-detours"]) == ("not run", "not run")
    assert found["elbow"] == "fails"


def test_noise_decides_nothing(tmp_path):
    wild = Planted(
        dissimilarity=(0.1, 0.6, 0.2, 0.5, 0.3), each=(0.0, 2.0, 0.0, 1.0, 0.0),
        last_gain=(-1.0, 1.0, 0.1, -0.2, 0.0), apart=(0.0, 0.2, 0.0, 0.1, 0.0),
    )  # fmt: skip
    found = verdicts(tmp_path, wild, wild)
    undecided = ("forks-same", "forks-chosen", "norm-aligns", "elbow", "twins")
    assert {found[name] for name in undecided} == {"undetermined"}


def test_the_page_and_its_tables_say_what_was_found(tmp_path):
    plan, done = study(tmp_path, Planted(detours=[(1, "detour")]), Planted())
    found = STUDY.judge(plan, done, say=lambda _: None)
    page = found.page.read_text(encoding="utf-8")
    assert "12 of 30" in page
    assert "fig-map-parity-1" in page
    assert "fig-map-parity-2" in page
    assert "state 1 detour (+50 steps, p = 0.01)" in page
    assert "state 0: 15 (step 20)" in page
    rows = found.tables["conditions"].set_index("normalised")
    assert rows.loc[False, "dissimilarity_pooled"] == pytest.approx(0.304)
    assert len(found.tables["edges"]) == 6


def test_explained_variance_is_that_of_the_regression():
    r = np.random.default_rng(0)
    share = r.dirichlet([1, 1, 1], size=20)
    y = share @ [1.0, 5.0, 2.0] + r.normal(size=20)
    rows = pd.DataFrame({"converged": y, **{f"share_{k}": share[:, k] for k in range(3)}})
    design = np.column_stack([np.ones(20), share[:, :2]])
    rest = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    found = explained(rows)
    assert found.value == pytest.approx(1 - rest @ rest / ((y - y.mean()) ** 2).sum())
    assert found.low < found.value < found.high
    late = pd.concat([rows, rows.assign(converged=np.nan)])
    assert explained(late).value == pytest.approx(found.value)
    assert explained(rows.iloc[:4]).reason
