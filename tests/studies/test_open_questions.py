"""Studies of open questions: pages follow from their tables, tables from their runs."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from wingbeat.studies.seedwise import MOST, needed_text, seed_claim, seeds_to_decide
from wingbeat.study.analysis import Analysis
from wingbeat.study.finished import over_seeds
from wingbeat.study.named import STUDIES

DOCS = Path(__file__).resolve().parents[2] / "docs" / "studies"
PUBLISHED = {
    "chaos-at-edge": "runs",
    "width-depth-size": "nudges",
    "three-families": "runs",
    "irrelevant-dimensions": "runs",
    "stable-at-start": "runs",
    "which-checkpoint": "runs",
    "useful-perturbations": "runs",
}
"""Study, and the table from which all its others follow."""


def folder_of(name: str) -> Path:
    return DOCS / name.replace("-", "_")


def module_of(name: str, part: str) -> Any:
    return import_module(f"wingbeat.studies.{name.replace('-', '_')}.{part}")


@pytest.fixture(scope="module", params=PUBLISHED)
def published(request: pytest.FixtureRequest) -> tuple[str, Analysis]:
    """Return a study's name, and what its claims are judged by, from its published runs."""
    name = request.param
    seeds = module_of(name, "found").seeds_of(runs_of(name))
    return name, Analysis(STUDIES.find(name).plan(), None, {"seeds": seeds})


def runs_of(name: str) -> pd.DataFrame:
    return pd.read_csv(folder_of(name) / f"{PUBLISHED[name]}.csv")


def assert_published(name: str, place: str, table: pd.DataFrame) -> None:
    given = pd.read_csv(folder_of(name) / f"{place}.csv")
    assert list(table.columns) == list(given.columns)
    numbers = given.select_dtypes("number").columns
    numbers = [c for c in numbers if not c.endswith("reason")]
    assert len(numbers) >= 3
    pd.testing.assert_frame_equal(
        table[numbers].astype(float), given[numbers].astype(float), rtol=1e-4, atol=1e-6
    )


def test_the_numbers_of_base_seeds_follow_from_the_runs(published: tuple[str, Analysis]) -> None:
    name, found = published
    assert_published(name, "seeds", found.tables["seeds"])


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_all_tables_follow_from_the_runs(name: str) -> None:
    for place, table in module_of(name, "found").tables_of(runs_of(name)).items():
        assert_published(name, place, table)


def test_the_page_says_each_claim_as_it_is_judged(published: tuple[str, Analysis]) -> None:
    """Every number with its interval stands on the page, in a line with its verdict."""
    name, found = published
    given = pd.read_csv(folder_of(name) / "claims.csv", keep_default_na=False)
    claims = STUDIES.find(name).claims(found)
    assert [c.ident for c in claims] == given["ident"].tolist()
    assert [c.measured for c in claims] == given["measured"].tolist()
    assert [c.verdict for c in claims] == given["verdict"].tolist()
    page = folder_of(name).with_suffix(".md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("|")]
    for claim in claims:
        number = re.search(r"[^ ]+ \[[^\]]+\]$|[^ ]+( \(no interval\))?$", claim.measured)
        assert number is not None
        own = [line for line in lines if number.group() in line]
        assert any(str(claim.verdict) in line for line in own), claim


@pytest.mark.parametrize(
    ("effect", "seeds"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10), (2.0, 5)]
)
def test_seeds_to_decide_are_those_of_tables_of_the_t_test(effect: float, seeds: int) -> None:
    """Cohen's table for one sample, two-sided 5 %, power .8 (as G*Power gives it)."""
    values = effect + np.array([-1.0, 0.0, 1.0])  # standard deviation 1
    assert seeds_to_decide(values, 0.0) == seeds
    assert seeds_to_decide(-values, 0.0) == seeds
    assert seeds_to_decide(values + 7.0, 7.0) == seeds


def test_a_forecast_is_not_made_of_nothing() -> None:
    assert seeds_to_decide([1.0, 2.0], 0.0) == 0
    assert seeds_to_decide([1.0, np.nan, 2.0], 0.0) == 0
    assert seeds_to_decide([1.0, 1.0, 1.0], 1.0) > MOST
    assert "more than 10,000" in needed_text([-1.0, 0.0, 1.0], 0.0)
    assert seed_claim("a", "A.", [-1.0, 1.0, 0.5], 0.0, above=True).verdict == "undetermined"
    assert "base seeds decide it" in seed_claim("a", "A.", [-1.0, 1.0, 0.5], 0.0, above=True).note
    assert seed_claim("a", "A.", [1.0, 1.1, 1.2], 0.0, above=True).note == ""


def test_each_finding_has_its_number_on_its_page() -> None:
    """The number with its interval, as the page writes it, and a study of the name."""
    page = (DOCS.parent / "findings.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and "](studies/" in line]
    assert len(rows) >= 15
    assert 10 <= page.partition("\n## ")[0].count("](studies/") <= 16, "the first table is a screen"
    for row in rows:
        question, _, number, command = (cell.strip() for cell in row.strip("|").split("|"))
        name, place = re.fullmatch(r"\[`study ([a-z-]+)`\]\(([a-z_/]+\.md)\)", command).groups()  # type: ignore[union-attr]
        assert name in STUDIES, question
        text = (DOCS.parent / place).read_text(encoding="utf-8").replace(" to ", ", ")
        found = re.search(r"([−\d.]+) (\[[^\]]+\])$", number)
        assert found is not None, question
        value, interval = map(re.escape, found.groups())  # a unit may stand between them
        assert re.search(rf"{value}[^|\[]{{0,30}} {interval}", text), f"{question}: not on {place}"


def test_that_the_nets_differ_in_what_to_fine_tune_from_follows_from_the_base_seeds() -> None:
    """Neither net decides by itself; what page and findings say is their difference in pairs."""
    seeds = pd.read_csv(folder_of("which-checkpoint") / "seeds.csv")
    wide = seeds.pivot_table(index="seed", columns="net", values="growth_and_tuned")
    apart = over_seeds((wide["dense"] - wide["cnn"]).to_numpy(), within=(-2.0, 2.0))
    said = f"{apart.value:.2f} [{apart.low:.2f}, {apart.high:.2f}]"
    for page in ("which_checkpoint.md", "../findings.md"):
        assert said in (DOCS / page).read_text(encoding="utf-8")
