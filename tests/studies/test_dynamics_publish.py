"""The kept files of a study: same study, same bytes; nothing but what a reader needs."""

from __future__ import annotations

import json
import re
import runpy
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from dynamics_cases import made

from wingbeat.errors import RequestError
from wingbeat.studies.dynamics import STUDY, DynamicsPlan

KEPT = Path(__file__).parents[2] / "docs" / "studies" / "dynamics"
SCRIPT = KEPT / "publish.py"
_script = runpy.run_path(str(SCRIPT))
publish, main = _script["publish"], _script["main"]


def study(folder: Path) -> Path:
    """A made-up study as its command leaves it, with one condition that was not run."""
    folder.mkdir()
    found = replace(made(lambda a, seed: 2.0 + seed / 3).study, folder=folder)
    conditions = found.conditions.assign(factory="m:f")
    left_out = conditions.iloc[[0]].assign(key="not run", status="not run")
    pd.concat([conditions, left_out]).to_parquet(folder / "conditions.parquet", index=False)
    layers = found.table.iloc[[0]].assign(layer="head.weight")
    components = found.table.iloc[[0]].assign(metric="pc1")
    table = pd.concat([found.table, layers, components])
    table.to_parquet(folder / "table.parquet", index=False)
    STUDY.judge(DynamicsPlan(), found, say=lambda _: None)
    return folder


def test_the_kept_files_are_the_same_each_time(tmp_path: Path) -> None:
    made_up = study(tmp_path / "study")
    first, second = (publish([made_up], tmp_path / name) for name in ("one", "two"))
    assert [p.name for p in first] == [
        "results.md",
        "summary.json",
        "families.csv",
        "architectures.csv",
        "conditions.csv",
        "table.parquet",
    ]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    results, summary, families, _, conditions, table = first
    assert results.read_text(encoding="utf-8").startswith("---\norphan: true\n---\n\n# Study")
    said = json.loads(summary.read_text(encoding="utf-8"))["command"]
    assert said == "wingbeat study dynamics --replicas 3"  # so many are made up
    assert pd.read_csv(families)["family"].tolist() == ["dense", "cnn", "transformer"]
    rows = pd.read_csv(conditions)
    assert len(rows) == 21 * 5
    assert set(rows["status"]) == {"done"}
    assert "factory" not in rows
    assert rows["convergence_ratio"].max() == pytest.approx(2 + 4 / 3, rel=1e-5)
    kept = pd.read_parquet(table)
    assert set(kept["layer"]) == {""}
    assert "pc1" not in set(kept["metric"])


def test_studies_of_other_nets_are_published_as_one(tmp_path: Path) -> None:
    """Two folders, one of which also holds what the study of topology measures, on a GPU."""
    whole = study(tmp_path / "study")
    folders = []
    for family in (("dense",), ("cnn", "transformer")):
        folders.append(tmp_path / family[0])
        folders[-1].mkdir()
        conditions = pd.read_parquet(whole / "conditions.parquet")
        own = conditions[conditions["family"].isin(family)].assign(device="cuda", trained=True)
        own.assign(h0_end=0.5).to_parquet(folders[-1] / "conditions.parquet", index=False)
        table = pd.read_parquet(whole / "table.parquet")
        table[table["key"].isin(own["key"])].to_parquet(folders[-1] / "table.parquet", index=False)
    publish([whole], tmp_path / "one")
    publish(folders, tmp_path / "two")
    for name in ("families.csv", "architectures.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    summary = json.loads((tmp_path / "two" / "summary.json").read_text(encoding="utf-8"))
    assert summary["command"] == "wingbeat study dynamics --replicas 3 --trained --device cuda"
    assert "h0_end" not in pd.read_csv(tmp_path / "two" / "conditions.csv")


def test_nets_that_were_asked_for_otherwise_have_commands_of_their_own() -> None:
    """Dense nets with 7 base seeds, CNNs with as many copies as is usual, others on a GPU."""
    rows = made(lambda a, seed: 2.0, seeds=7).study.conditions
    few = (rows["family"] == "dense") | (rows["seed"] < 3)
    rows = rows[few].assign(trained=True)
    rows.loc[rows["family"] == "cnn", "replicas"] = 5
    rows.loc[rows["family"] == "transformer", "device"] = "cuda"
    assert _script["command_of"](rows).split("; ") == [
        "wingbeat study dynamics --family cnn --trained",
        "wingbeat study dynamics --family dense --seeds 7 --replicas 3 --trained",
        "wingbeat study dynamics --family transformer --replicas 3 --trained --device cuda",
    ]


@pytest.mark.parametrize("kept", [KEPT, KEPT / "short"], ids=lambda folder: folder.name)
def test_what_is_kept_is_what_the_present_version_says_of_it(kept: Path, tmp_path: Path) -> None:
    """The published tables are not older than the rules by which verdicts are given."""
    again = tmp_path / "again"
    shutil.copytree(kept, again)
    main([str(again)])
    for name in ("results.md", "families.csv", "architectures.csv"):
        assert (again / name).read_text("utf-8") == (kept / name).read_text("utf-8"), name


def test_the_page_quotes_its_tables() -> None:
    """Every number with an interval on the page stands in the results of one of the two runs."""
    names = ("results.md", "short/results.md")
    tables = "".join((KEPT / name).read_text(encoding="utf-8") for name in names)
    page = " ".join((KEPT / "README.md").read_text(encoding="utf-8").split())
    quoted = re.findall(r"−?[\d.,]+ \[[^\]]+ to [^\]]+\]", page)
    assert len(quoted) >= 8
    assert not [words for words in quoted if words not in tables]


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"has no conditions\.parquet"):
        publish([tmp_path], tmp_path / "out")
    with pytest.raises(SystemExit, match="usage"):
        main([])
    with pytest.raises(SystemExit, match="has no conditions"):
        main([str(tmp_path)])
    with pytest.raises(SystemExit, match=r"has no conditions\.parquet"):
        main([str(tmp_path), str(tmp_path / "out")])
