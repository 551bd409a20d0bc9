"""The published tables of the study of latent states say what its page and its docs say of them."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from wingbeat.studies.latent_states import STUDY, StatesPlan
from wingbeat.study.analysis import Analysis

DOCS = Path(__file__).parents[2] / "docs" / "studies"
KEPT = DOCS / "latent_states"


@pytest.fixture(scope="module")
def found():
    tables = {path.stem: pd.read_csv(path) for path in KEPT.glob("*.csv")}
    tasks = tuple(t for t in StatesPlan().tasks if t in set(tables["conditions"]["task"]))
    return Analysis(StatesPlan(tasks=tasks), None, tables)


def test_the_docs_tell_the_verdicts_of_the_kept_tables(found):
    text = (DOCS / "latent_states.md").read_text("utf-8")
    told = {
        tuple(m)
        for m in re.findall(r"^\| `([a-z-]+)` \| ([^|]+?) \|.*\| ([a-z ]+) \|$", text, re.M)
    }
    given = {(c.ident, c.part, str(c.verdict)) for c in STUDY.claims(found)}
    assert told == given


def test_the_kept_tables_hang_together(found):
    conditions = found.tables["conditions"]
    assert (conditions["apart_null"] == 0).all()
    for row in conditions.itertuples():
        own = {n: t[(t["task"] == row.task) & (t["normalised"] == row.normalised)]
               for n, t in found.tables.items() if "normalised" in t}  # fmt: skip
        assert len(own["nodes"]) == row.states
        assert own["nodes"]["share"].sum() == pytest.approx(1.0)
        assert own["edges"]["runs"].max() <= row.runs
        assert len(own["occupancy"]) == row.runs
        assert own["occupancy"]["converged"].notna().mean() == pytest.approx(row.converged)
        best = own["selection"].set_index("states")["bic"].idxmin()
        assert best == row.states
