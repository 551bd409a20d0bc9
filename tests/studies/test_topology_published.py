"""The published tables and verdicts of the study of topology follow from its published records."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from wingbeat.studies.topology.claims import claims
from wingbeat.studies.topology.found import TopologyFindings, tables
from wingbeat.study.analysis import Analysis
from wingbeat.study.outcome import StudyResult

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "studies" / "topology"


NETS = {FOLDER: 17, FOLDER / "small": 2, FOLDER / "trained": 21}
"""Number of nets by folder; the small transformers were run by themselves."""


@pytest.fixture(scope="module", params=NETS, ids=lambda folder: folder.name)
def judged(request: pytest.FixtureRequest) -> Analysis:
    conditions = pd.read_csv(request.param / "conditions.csv")
    study = StudyResult(request.param, conditions, pd.DataFrame(), (), {})
    own = TopologyFindings(None, study, draws=9)
    return Analysis(None, study, tables(Analysis(None, study, own=own)), own=own)


@pytest.mark.parametrize("name", ["architectures", "families", "conventions", "correlations"])
def test_the_tables_follow_from_the_conditions(judged: Analysis, name: str) -> None:
    published = pd.read_csv(judged.study.folder / f"{name}.csv")
    drawn = ("p", "p_holm")  # by 2,000 permutations, here by nine
    numbers = [c for c in published.select_dtypes("number") if c not in drawn]
    numbers = [c for c in numbers if not c.endswith("reason")]  # an empty column is one of numbers
    assert len(numbers) >= 3
    found = judged.tables[name][numbers].astype(float)
    pd.testing.assert_frame_equal(found, published[numbers].astype(float), rtol=2e-4, atol=2e-5)


def test_the_verdicts_follow_from_the_conditions(judged: Analysis) -> None:
    published = pd.read_csv(judged.study.folder / "claims.csv", keep_default_na=False)
    assert [c.verdict for c in claims(judged)] == published["verdict"].tolist()
    assert [c.part for c in claims(judged)] == published["part"].tolist()
    assert len(judged.own.nets) == NETS[judged.study.folder]
    assert [c.note for c in claims(judged)] == published["note"].tolist()
    trained = judged.study.folder.name == "trained"
    dense, least = (25, 3) if trained else (5, 5)
    for net in judged.own.nets:
        known = net.architecture.family == "dense"
        assert len(net.rows) == dense if known else least <= len(net.rows) <= 5


def said_in(folder: Path) -> dict[tuple[str, str], pd.Series]:
    """Return the published claims of a folder by name and part."""
    published = pd.read_csv(folder / "claims.csv", keep_default_na=False)
    return {(row["ident"], row["part"]): row for _, row in published.iterrows()}


def test_the_page_says_what_the_tables_of_small_nets_say() -> None:
    text = (FOLDER.parent / "topology.md").read_text(encoding="utf-8")
    text = " ".join(text.split())
    part = text.partition("### GPT small and BERT small")[2].partition("### What does not hold")[0]
    said = said_in(FOLDER / "small")
    for ident, name, words in (
        ("divide", "each by its own rule, mean of the words, trained", "39.2 [37.2, 41.2]"),
        ("divide", "both by the lookup table, mean of the words, trained", "1.22 [1.11, 1.34]"),
        ("divide", "both by the lookup table, the word that is read, trained", "3.49 [3.23, 3.77]"),
        ("learned", "Transformer, ÷ input or lookup table", "0.55 [0.52, 0.58]"),
        ("flat", "Transformer, trained", "0.44 [0.33, 0.58]"),
        ("flat", "Transformer, untrained", "0.0535 [0.051, 0.056]"),
    ):
        assert words in part, name
        measured = said[ident, name]["measured"].replace(" to ", ", ").strip("]").split(" [")
        told = words.strip("]").split(" [")
        numbers = [float(x) for half in measured for x in half.split(", ")]
        assert [float(x) for half in told for x in half.split(", ")] == pytest.approx(
            numbers, rel=0.02
        )


def test_the_page_quotes_the_claims_of_trained_nets() -> None:
    text = (FOLDER.parent / "topology.md").read_text(encoding="utf-8")
    part = text.partition("## Trained until they have learned")[2].partition("\n## ")[0]
    claims = (FOLDER / "trained" / "claims.csv").read_text(encoding="utf-8")
    quoted = re.findall(r"−?[\d.]+ \[[^\]]+, [^\]]+\]", " ".join(part.split()))
    assert len(quoted) >= 8
    assert not [words for words in quoted if words.replace(", ", " to ") not in claims]


def test_the_page_says_what_would_decide_each_open_claim() -> None:
    text = (FOLDER.parent / "topology.md").read_text(encoding="utf-8")
    part = text.partition("## What would decide what is open")[2].partition("\n## ")[0]
    open_claims = 0
    for folder in NETS:
        notes = pd.read_csv(folder / "claims.csv", keep_default_na=False)
        for note in notes.loc[notes["verdict"] == "undetermined", "note"]:
            found = re.search(r"(more than )?([\d,]+) (?:nets|base seeds) decide it", note)
            if found and not found.group(1):
                assert re.search(rf"\b{found.group(2)}\b", part), note
                open_claims += 1
    assert open_claims >= 25


def test_the_page_says_what_the_tables_say() -> None:
    """Numbers of the page that decide its sentences stand in the published claims."""
    text = (FOLDER.parent / "topology.md").read_text(encoding="utf-8")
    said = said_in(FOLDER)
    for ident, part, words, verdict in (
        ("divergent-expand", "these nets, all nets, ÷ first layer", "0.46 [0.27, 0.61] **holds**",
         "holds"),
        ("divergent-expand", "nets like these, all nets, ÷ first layer", "undetermined",
         "undetermined"),
        ("divide", "each by its own rule, mean of the words, trained", "39.1 [38.5, 39.7]",
         "holds"),
        ("divide", "both by the lookup table, mean of the words, trained", "1.14 [1.07, 1.22]",
         "holds"),
        ("learned", "Transformer, ÷ input or lookup table", "0.66 [0.63, 0.68]", "fails"),
        ("flat", "Dense, trained", "0.060 [0.052, 0.069]", "fails"),
    ):  # fmt: skip
        row = said[ident, part]
        assert row["verdict"] == verdict, part
        value = float(words.split()[0]) if words[0].isdigit() else float(row["measured"].split()[0])
        assert float(row["measured"].split()[0]) == pytest.approx(value, rel=0.02), part
        assert words in text
