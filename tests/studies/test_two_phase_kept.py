"""The page of the study of two phases tells the verdicts of the tables beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

DOCS = Path(__file__).parents[2] / "docs" / "studies"


@pytest.mark.parametrize(
    ("folder", "heading"), [("digits", "digits"), ("photographs", "photographs")]
)
def test_verdicts_and_numbers_are_those_of_the_kept_tables(folder, heading):
    text = (DOCS / "two_phase.md").read_text("utf-8")
    part = text.split(f"## What it finds: {heading}\n")[1].split("\n## ")[0]
    kept = json.loads((DOCS / "two_phase" / folder / "summary.json").read_text())
    told = re.findall(r"^\| .* \| .* \| \**(holds|fails|undetermined)\** \|$", part, re.M)
    assert told == [claim["verdict"] for claim in kept["claims"]]
    assert kept["noise_floor"] == 0.0
    course = pd.read_csv(DOCS / "two_phase" / folder / "linearised.csv")
    row = re.search(r"^\| test accuracy, % \| (.*) \|$", part, re.M)
    shown = [float(v) for v in row.group(1).split(" | ")]
    assert shown[:-1] == pytest.approx(100 * course["linearised"], abs=0.051)
    marks = pd.read_csv(DOCS / "two_phase" / folder / "marks.csv").set_index("name")["found"]
    assert shown[-1] == pytest.approx(100 * marks["full"], abs=0.051)


@pytest.mark.parametrize(
    ("folder", "heading"), [("digits_at_rest", "Digits"), ("photographs_at_rest", "Photographs")]
)
def test_what_is_left_of_the_jitter_is_told_as_the_kept_tables_have_it(folder, heading):
    text = (DOCS / "two_phase.md").read_text("utf-8")
    part = text.split("\n## Is what turns late the jitter of the rate?\n")[1].split("\n## ")[0]
    part = part.split(f"\n### {heading}\n")[1].split("\n### ")[0]
    kept = json.loads((DOCS / "two_phase" / folder / "summary.json").read_text())
    assert kept["noise_floor"] == 0.0
    rows = [line for line in part.splitlines() if line.startswith("| ")]
    claims = kept["claims"][8:]
    assert len(claims) == 9
    for claim in claims:
        name = f"{claim['text']} ({claim['part']})" if claim["part"] else claim["text"]
        assert f"| {name} | {claim['measured']} | **{claim['verdict']}** |" in rows, name
    marks = pd.read_csv(DOCS / "two_phase" / folder / "marks.csv").set_index("name")
    rests = pd.read_csv(DOCS / "two_phase" / folder / "at_rest.csv")
    assert set(rests["of"]) == {"single", "average", "late", "dropped_late"}
    fall = marks.loc["average_fall"]
    told = next(c["verdict"] for c in claims if c["ident"] == "average-jitter")
    bound = 1.0  # doublings
    expected = "holds" if fall["found_low"] > bound else "undetermined"
    assert told == ("fails" if fall["found_high"] < bound else expected)
