"""Spawn and perturb as published: the rulings of the page follow from the values beside it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from wingbeat.studies.butterfly.claims import claims
from wingbeat.studies.butterfly.found import mean_of
from wingbeat.studies.butterfly.growth import COLUMNS, law_claims
from wingbeat.studies.butterfly.interventions import compared, intervention_table

DOCS = Path(__file__).parents[2] / "docs" / "studies"
PAGE = " ".join((DOCS / "butterfly.md").read_text("utf-8").split())


def kept(name: str, *numbers: str) -> pd.DataFrame:
    """Read a table; nothing stands for NaN in columns of numbers, for no reason elsewhere."""
    return pd.read_csv(
        DOCS / "butterfly" / name,
        keep_default_na=False,
        na_values=dict.fromkeys(numbers, ""),
        dtype={"replica": str},
    )


def laws(name: str = "growth.csv") -> pd.DataFrame:
    words = {"intervention", "kind", "replica", "law", "reason"}
    return kept(name, *(c for c in COLUMNS if c not in words))


def test_every_ruling_follows_from_the_values() -> None:
    for found in (*claims(kept("values.csv", "value")), *law_claims(laws())):
        word = f"**{found.verdict}**" if found.verdict != "undetermined" else found.verdict
        assert f"| {found.text} | {found.measured} | {word} |" in PAGE, found.ident


def test_every_ruling_on_digits_follows_from_the_values() -> None:
    values = kept("digits_values.csv", "value")
    for found in (*claims(values, ["long warm-up"]), *law_claims(laws("digits_growth.csv"))):
        word = f"**{found.verdict}**" if found.verdict != "undetermined" else found.verdict
        assert f"| {found.text} | {found.measured} | {word} |" in PAGE, found.ident
    for row in intervention_table(compared(values)).rows:
        assert f"| {' | '.join(row[1:])} |" in PAGE


def test_late_nudges_are_told_apart_from_rounding() -> None:
    """The twin was driven apart by rounding: what is said of the law rests on later nudges."""
    own = laws()
    late = own[own["time"] >= 0.02]
    exponential, saturates = law_claims(late)
    assert exponential.verdict == "holds"
    assert exponential.measured.replace(" to ", ", ") in PAGE
    assert saturates.verdict == "undetermined"
    assert saturates.measured.replace(" to ", ", ") in PAGE
    grew = late[late["grown"] >= 2]
    assert grew["law"].value_counts().to_dict() == {"power": 14, "saturating": 13}
    assert "14 by a power, 13 by a law that saturates" in PAGE


@pytest.mark.parametrize(("kind", "size", "time"), [("gaussian", 0.01, 0.1), ("single", 0.01, 0)])
def test_barriers_of_the_table(kind: str, size: float, time: float) -> None:
    values = kept("values.csv", "value")
    own = values[(values["kind"] == kind) & (values["size"] == size) & (values["time"] == time)]
    found = mean_of(own[own["quantity"] == "barrier_train"])
    digits = 4 if time else 3
    value, low, high = (f"{end:.{digits}f}" for end in (found.value, found.low, found.high))
    assert f"{value} [{low}, {high}]" in PAGE
