"""The published tables and verdicts of the study of topology follow from its published records."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from wingbeat.studies.topology.claims import claims
from wingbeat.studies.topology.found import TopologyFindings, tables
from wingbeat.study.analysis import Analysis
from wingbeat.study.outcome import StudyResult

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "studies" / "topology"


@pytest.fixture(scope="module")
def judged() -> Analysis:
    conditions = pd.read_csv(FOLDER / "conditions.csv")
    study = StudyResult(FOLDER, conditions, pd.DataFrame(), (), {})
    own = TopologyFindings(None, study, draws=9)
    return Analysis(None, study, tables(Analysis(None, study, own=own)), own=own)


@pytest.mark.parametrize("name", ["architectures", "families", "conventions", "correlations"])
def test_the_tables_follow_from_the_conditions(judged: Analysis, name: str) -> None:
    published = pd.read_csv(FOLDER / f"{name}.csv")
    drawn = ("p", "p_holm")  # by 2,000 permutations, here by nine
    numbers = [c for c in published.select_dtypes("number") if c not in drawn]
    numbers = [c for c in numbers if not c.endswith("reason")]  # an empty column is one of numbers
    assert len(numbers) >= 3
    found = judged.tables[name][numbers].astype(float)
    pd.testing.assert_frame_equal(found, published[numbers].astype(float), rtol=2e-4, atol=2e-5)


def test_the_verdicts_follow_from_the_conditions(judged: Analysis) -> None:
    published = pd.read_csv(FOLDER / "claims.csv", keep_default_na=False)
    assert [c.verdict for c in claims(judged)] == published["verdict"].tolist()
    assert [c.part for c in claims(judged)] == published["part"].tolist()
    assert len(judged.own.nets) == 17
    assert all(len(net.rows) == 5 for net in judged.own.nets)


def test_the_page_says_what_the_tables_say() -> None:
    """Numbers of the page that decide its sentences stand in the published claims."""
    text = (FOLDER.parent / "topology.md").read_text(encoding="utf-8")
    published = pd.read_csv(FOLDER / "claims.csv", keep_default_na=False)
    said = {(row["ident"], row["part"]): row for _, row in published.iterrows()}
    for ident, part, words, verdict in (
        ("divergent-expand", "these nets, all nets, ÷ first layer", "0.46 [0.29, 0.63] **holds**",
         "holds"),
        ("divergent-expand", "nets like these, all nets, ÷ first layer", "undetermined",
         "undetermined"),
        ("divide", "each by its own rule, mean of the words, trained", "39.1 [38.5, 39.7]",
         "holds"),
        ("divide", "both by the lookup table, mean of the words, trained", "1.14 [1.07, 1.22]",
         "holds"),
        ("learned", "Transformer, ÷ input or lookup table", "0.66 [0.63, 0.68]", "fails"),
        ("flat", "Dense, trained", "0.060 [0.052, 0.068]", "fails"),
    ):  # fmt: skip
        row = said[ident, part]
        assert row["verdict"] == verdict, part
        value = float(words.split()[0]) if words[0].isdigit() else float(row["measured"].split()[0])
        assert float(row["measured"].split()[0]) == pytest.approx(value, rel=0.02), part
        assert words in text
