"""Each column of the page's tables reads the scalar that its head names."""

from __future__ import annotations

import pytest
from report_cases import full, scalar

from wingbeat.report.pages.page_text import texts
from wingbeat.report.prose import number

# A head of the table, and the scalar of `wingbeat.summary` that it is about.
COLUMNS = {
    "ratio": "convergence_ratio",
    "projected ratio": "convergence_ratio_projected",
    "λ per step": "lyapunov",
    "λ per epoch": "lyapunov_per_epoch",
    "λ, two points": "lyapunov_two_point",
    "R² of the λ fit": "lyapunov_r2",
    "early/late": "early_late_ratio",
    "participation": "participation_ratio",
    "final distance": "final_l2",
    "saturates at distance": "saturation_distance",
    "final disagreement": "final_disagreement",
}


NAME = "gaussian-0.01@0"


def shown() -> tuple[dict, dict]:
    """The page's words for a result of which every scalar has a value of its own."""
    own = {name: scalar(1.5 + place) for place, name in enumerate(COLUMNS.values())}
    summary = {f"{NAME}/{name}": value for name, value in own.items()}
    return texts(full(names=(NAME,)).but(summary=summary)), own


def test_every_column_is_known_here() -> None:
    assert shown()[0]["result_heads"] == list(COLUMNS)


@pytest.mark.parametrize("head", COLUMNS)
def test_a_column_reads_its_scalar(head: str) -> None:
    page, own = shown()
    cells = dict(page["results"][0]["cells"])
    assert cells[head].split(" ")[0] == number(own[COLUMNS[head]]["value"])


def test_facts_read_theirs() -> None:
    page, own = shown()
    facts = {f["name"]: f["value"] for f in page["facts"]}
    assert facts["convergence ratio"] == number(own["convergence_ratio"]["value"])
    assert facts["exponent λ per step"] == number(own["lyapunov"]["value"])
