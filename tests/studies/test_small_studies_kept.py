"""Published verdicts on the edge, the break-even point and iris follow from their kept tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from wingbeat.studies.break_even.claims import conjectures
from wingbeat.studies.break_even.claims import tested as break_even_claims
from wingbeat.studies.danovski import DanovskiPlan
from wingbeat.studies.danovski.claims import claims
from wingbeat.studies.danovski.found import DanovskiFindings, DanovskiMeasurement
from wingbeat.studies.edge import EdgePlan
from wingbeat.studies.edge.claims import KEPT, MEANS, verdicts
from wingbeat.studies.edge.claims import tested as edge_claims
from wingbeat.study.analysis import Analysis
from wingbeat.study.verdicts import together

DOCS = Path(__file__).resolve().parents[2] / "docs" / "studies"


def read(place: str) -> pd.DataFrame:
    return pd.read_csv(DOCS / place, keep_default_na=False, na_values=[""])


def test_the_verdicts_on_the_edge_follow_from_the_runs() -> None:
    runs = read("edge/runs.csv").fillna({f"{name}_reason": "" for name in MEANS})
    assert list(runs.columns) == list(KEPT)
    found, published = verdicts(runs), read("edge/verdicts.csv")
    numbers = published.select_dtypes("number").columns
    pd.testing.assert_frame_equal(
        found[numbers].astype(float), published[numbers].astype(float), rtol=1e-5
    )
    assert found["verdict"].tolist() == published["verdict"].tolist()
    said = edge_claims(Analysis(EdgePlan(), None, {"verdicts": found}))
    given = read("edge/claims.csv")
    assert [(c.ident, c.measured, c.verdict) for c in said] == list(
        zip(given["ident"], given["measured"], given["verdict"], strict=True)
    )


def test_the_page_of_the_edge_has_a_line_for_each_verdict() -> None:
    page = (DOCS / "edge.md").read_text(encoding="utf-8")
    for row in read("edge/verdicts.csv").to_dict("records"):
        line = next(
            one for one in page.splitlines() if one.startswith(f"| {row['rule']} | {row['lr']:g} |")
        )
        assert f"| {row['verdict']} |" in line
        assert float(line.split("|")[3]) == round(row["threshold"], 2)
        if row["edge"]:
            assert f"| {row['hover']:.3f} [{row['hover_low']:.3f}, {row['hover_high']:.3f}]" in line


def test_the_verdicts_on_the_break_even_point_follow_from_the_conditions() -> None:
    rows = read("break_even/conditions.csv")
    assert len(rows) == 7 * 5 * 3
    found, published = conjectures(rows), read("break_even/conjectures.csv")
    for name in ("value", "low", "high"):
        assert found[name].tolist() == pytest.approx(published[name].tolist(), rel=1e-5)
    said = break_even_claims(Analysis(None, None, {"conjectures": found}))
    given = pd.read_csv(DOCS / "break_even" / "claims.csv", keep_default_na=False)
    assert [(c.measured, c.verdict, c.note) for c in said] == list(
        zip(given["measured"], given["verdict"], given["note"], strict=True)
    )
    assert together(said) == (0, 6)  # each knows how sure it is; the page says that none stays


@pytest.fixture(scope="module")
def iris() -> DanovskiFindings:
    """Return the findings of the whole plan as the published estimates say them."""
    table = read("danovski/estimates.csv")
    place = table["quantity"].where(
        table["x"].isna(), "curve/" + table["quantity"] + "/" + table["x"].astype(str)
    )
    table = table.assign(place=place, reason=table["reason"].fillna(""))
    found = DanovskiFindings.__new__(DanovskiFindings)
    found.plan = DanovskiPlan()
    found.measured = []
    for options in found.plan.options:
        own = table[
            (table["experiment"] == options.experiment)
            & (table["eta"] == options.eta)
            & (table["epsilon"] == options.epsilon)
        ]
        assert len(own), options
        content = own.set_index("place")[["value", "low", "high", "n", "reason"]].to_dict("index")
        found.measured.append(DanovskiMeasurement(options, content))
    return found


def test_the_verdicts_on_iris_follow_from_the_estimates(iris: DanovskiFindings) -> None:
    given = read("danovski/claims.csv")
    said = claims(iris)
    assert [c.ident for c in said] == given["ident"].tolist()
    assert [c.verdict for c in said] == given["verdict"].tolist()
    assert [c.measured for c in said] == given["measured"].tolist()
    assert len(said) == 18


def test_the_page_of_iris_says_each_claim_as_it_is_judged(iris: DanovskiFindings) -> None:
    page = (DOCS / "danovski.md").read_text(encoding="utf-8")
    for claim in claims(iris):
        line = f"| {claim.named} | {claim.published} | {claim.measured} | **{claim.verdict}** |"
        assert line in page, claim.named
        assert f" {claim.note}\n" in page or not claim.note, claim.note
