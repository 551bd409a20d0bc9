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
