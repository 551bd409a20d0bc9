"""Spawn and perturb as published: what the page says follows from the values beside it."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from published import INTERVAL, intervals_of, unfounded, value_of

from wingbeat.errors import RequestError
from wingbeat.studies.butterfly.found import mean_of
from wingbeat.studies.butterfly.growth import COLUMNS
from wingbeat.studies.butterfly.interventions import compared, intervention_table
from wingbeat.study.ledger import Ledger

DOCS = Path(__file__).parents[2] / "docs" / "studies"
KEPT = DOCS / "butterfly"
WHOLE = (DOCS / "butterfly.md").read_text("utf-8")
PAGE = " ".join(WHOLE.split())
OWN = WHOLE.partition("\n## Measured: a ResNet-8 that learns\n")[2].partition("\n## ")[0]
"""The section whose tables publish.py writes."""


@pytest.fixture(scope="module")
def publish() -> ModuleType:
    """Return the script that writes tables and page."""
    spec = importlib.util.spec_from_file_location("butterfly_publish", KEPT / "publish.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def kept(name: str, *numbers: str) -> pd.DataFrame:
    """Read a table; nothing stands for NaN in columns of numbers, for no reason elsewhere."""
    return pd.read_csv(
        KEPT / name,
        keep_default_na=False,
        na_values=dict.fromkeys(numbers, ""),
        dtype={"replica": str},
    )


def laws(name: str = "growth.csv") -> pd.DataFrame:
    words = {"intervention", "kind", "replica", "law", "reason"}
    return kept(name, *(c for c in COLUMNS if c not in words))


def test_tables_and_page_are_what_the_kept_values_give(publish: ModuleType, tmp_path: Path) -> None:
    shutil.copytree(KEPT, tmp_path / "butterfly")
    (tmp_path / "butterfly.md").write_text(
        re.sub(r"(<!-- begin: [^>]+ -->)\n.*?\n(<!-- end)", r"\1\n\2", WHOLE, flags=re.S), "utf-8"
    )
    publish.main([str(tmp_path / "butterfly")])
    assert (tmp_path / "butterfly.md").read_text("utf-8") == WHOLE
    for place in ("claims", "exact/claims", "exact/interventions", "rounding"):
        there, here = (f / f"{place}.csv" for f in (KEPT, tmp_path / "butterfly"))
        assert here.read_text("utf-8") == there.read_text("utf-8"), place


def test_every_number_in_the_words_of_the_section_stands_in_its_tables() -> None:
    words = re.sub(r"<!-- begin.*?<!-- end[^>]*-->", "", OWN, flags=re.S)
    tables = "".join(re.findall(r"<!-- begin.*?<!-- end", OWN, flags=re.S))
    said = np.array([[value_of(x) for x in found] for found in INTERVAL.findall(tables)])
    assert len(INTERVAL.findall(words)) >= 10
    assert unfounded(words, np.concatenate([intervals_of(KEPT), said])) == []
    for number in re.findall(r"\d+(?:,\d{3})+ replica-steps", words):
        assert f"| {number.split()[0]} |" in tables or "376,935" in number, number


def test_every_claim_that_is_kept_is_shown_with_what_would_decide_it() -> None:
    """Of this study's claims, by a way of its own from the kept words to the page."""
    for place in ("", "exact/"):
        for row in pd.read_csv(KEPT / f"{place}claims.csv").to_dict("records"):
            word = row["verdict"] if row["verdict"] == "undetermined" else f"**{row['verdict']}**"
            needed = f"{row['needed']:,}" if row["needed"] else "–"
            assert f"| {row['claim']} | {row['measured']} | {word} | {needed} |" in OWN


def test_interventions_on_digits_follow_from_the_values() -> None:
    for row in intervention_table(compared(kept("digits_values.csv", "value"))).rows:
        assert f"| {' | '.join(row[1:])} |" in PAGE


def test_what_is_called_exact_is_exact_and_the_rest_is_not() -> None:
    runs = kept("runs.csv", "noise_floor")
    floors = runs.groupby("twin")["noise_floor"]
    assert floors.max()["exact"] == 0
    assert floors.min()["rounding"] > 1
    exact = kept("exact/values.csv", "value")
    trained = runs[runs["twin"] == "exact"][["intervention", "seed"]].drop_duplicates()
    assert set(map(tuple, exact[["intervention", "seed"]].to_numpy())) == set(
        map(tuple, trained.to_numpy())
    )
    assert set(kept("values.csv", "value")["intervention"]) == {"standard"}


def test_no_unit_was_moved_and_so_no_barrier() -> None:
    for name in ("values.csv", "exact/values.csv"):
        own = kept(name, "value")
        assert (own[own["quantity"] == "fixed_point_share"]["value"] == 1).all()
        places = ["intervention", "kind", "size", "time", "seed", "replica"]
        raw, aligned = (
            own[own["quantity"] == q].set_index(places)["value"].sort_index()
            for q in ("barrier_train", "barrier_aligned_train")
        )
        assert len(raw) >= 54 - 18
        pd.testing.assert_series_equal(raw, aligned, rtol=1e-4, atol=1e-6)


def test_exact_copies_of_small_nudges_part_by_a_power_of_time() -> None:
    own = laws("exact/growth.csv")
    usual = own[own["intervention"] == "standard"]
    found = usual.groupby("size")["law"].value_counts().to_dict()
    assert found == {
        (0.001, "power"): 35, (0.001, "none"): 1, (0.01, "power"): 18, (0.1, "power"): 6,
        (0.1, "saturating"): 7, (0.1, "none"): 3, (0.1, "exponential"): 2,
    }  # fmt: skip


def test_half_way_a_nudge_of_a_thousandth_leaves_no_barrier() -> None:
    own = kept("exact/values.csv", "value")
    late = own[(own["time"] == 0.5) & (own["quantity"] == "barrier_train")]
    assert late["value"].tolist() == [0.0] * 9


@pytest.mark.parametrize(("kind", "size", "time"), [("gaussian", 0.01, 0.1), ("single", 0.01, 0)])
def test_barriers_of_the_table(kind: str, size: float, time: float, publish: ModuleType) -> None:
    """The table's cells are means that the study itself would print."""
    values = kept("values.csv", "value")
    own = values[(values["kind"] == kind) & (values["size"] == size) & (values["time"] == time)]
    found = mean_of(own[own["quantity"] == "barrier_train"])
    assert f"| {publish.estimate_text(found)} |" in PAGE


def test_a_run_replaces_the_same_cells_only(
    publish: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept of other recipes and cells stays, whatever is added, however often."""
    folder = tmp_path / "butterfly"
    shutil.copytree(KEPT, folder)
    rows = kept("exact/values.csv", "value")
    for changed in (rows[rows["intervention"] == "long warm-up"], rows[rows["seed"] == 0]):
        publish._add(folder / "exact" / "values.csv", changed.assign(value=7.0), publish.PLACE)
        now = publish.read(folder / "exact" / "values.csv")
        assert len(now) == len(rows)
        assert (now.loc[changed.index, "value"] == 7).all()
    assert (now["value"] != 7).any()
    monkeypatch.setattr(Ledger, "done", lambda _: set())
    with pytest.raises(RequestError, match="no finished run"):
        publish.publish([tmp_path], folder)
    with pytest.raises(RequestError, match=r"exact/values\.csv"):
        publish.judge_again(tmp_path)
    with pytest.raises(RequestError, match="no marks"):
        publish.filled("", {"laws": publish.Table((), ())})
