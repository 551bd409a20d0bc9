"""A study on disk: lazy rows through DuckDB, checked digests, several folders at once."""

from __future__ import annotations

from math import isnan, nan
from pathlib import Path

import pandas as pd
import pytest
from study_tasks import finished

from wingbeat.errors import RequestError, StoreError
from wingbeat.study.condition import Condition
from wingbeat.study.grid import cross
from wingbeat.study.ledger import Ledger
from wingbeat.study.load import load_study
from wingbeat.study.run import run_study

GRID = cross(
    Condition("m:f", {"kept": 1}, tags={"family": "dense"}),
    {"arguments.lr": [0.1, 0.2], "seed": [0, 1, 2]},
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ledger = Ledger(tmp_path / "one")
    for condition in GRID:
        lr, seed = condition.arguments["lr"], condition.seeds[0]
        finished(ledger, condition, lyapunov=lr + seed, final_l2=nan if lr == 0.2 else 1.0)
    return tmp_path / "one"


def test_rows_are_those_that_the_study_wrote(folder: Path) -> None:
    whole = run_study(GRID, folder)
    study = load_study(folder)
    found = study.table.order("key, step").df()
    pd.testing.assert_frame_equal(found, whole.table, check_dtype=False)
    total = study.query("SELECT sum(value) AS total FROM results WHERE metric = 'l2'").fetchall()
    assert total == [(6 * 3.0,)]
    joined = study.query(
        'SELECT count(*) FROM results JOIN conditions USING (key) WHERE "arguments.lr" = 0.2'
    )
    assert joined.fetchall() == [(9,)]


def test_tables_stay_on_disk_until_they_are_asked_for(folder: Path) -> None:
    """A table that goes after loading is missed only by what reads it."""
    study = load_study(folder)
    relation = study.table
    (folder / "records" / GRID[0].key / "table.parquet").unlink()
    assert len(study.conditions) == 6
    with pytest.raises(Exception, match=r"table\.parquet"):
        relation.df()


def test_axes_leaderboard_effects_and_best(folder: Path) -> None:
    study = load_study(folder)
    assert study.axes == ("arguments.lr", "seed")
    assert study.conditions["family"].tolist() == ["dense"] * 6
    board = study.leaderboard("lyapunov")
    assert board["arguments.lr"].tolist() == [0.1, 0.2]
    assert board["mean"].tolist() == pytest.approx([1.1, 1.2])
    effects = study.effects("lyapunov").query("axis == 'arguments.lr'")
    assert sorted(effects["level"]) == [0.1, 0.2]
    assert abs(effects["effect"].iloc[1]) == pytest.approx(0.1)
    best = study.best("lyapunov")
    assert (best.arguments["lr"], best.seeds) == (0.1, (0,))
    undefined = study.effects("final_l2").query("axis == 'arguments.lr' and level == 0.2").iloc[0]
    assert isnan(undefined["mean"])
    assert undefined["reason"] == "diverged"


def test_scalars_are_correlated_with_others(folder: Path) -> None:
    found = load_study(folder).correlate(["lyapunov"], ["seed"]).iloc[0]
    assert found["n"] == 6
    assert found["value"] > 0.9, "λ was made to be rate + seed"


def test_several_studies_at_once(folder: Path, tmp_path: Path) -> None:
    other = Ledger(tmp_path / "two")
    finished(other, GRID[0], lyapunov=9.0)
    more = Condition("m:g", {"lr": 0.1}, seeds=(0, 1))
    finished(other, more, rows=5, lyapunov=2.0)
    study = load_study(str(tmp_path / "*"))
    assert len(study) == 7
    assert study.table.aggregate("count(*)").fetchall() == [(6 * 3 + 5,)]
    by_key = study.conditions.set_index("key")["lyapunov"]
    assert by_key[GRID[0].key] == GRID[0].arguments["lr"] + GRID[0].seeds[0], "the first counts"


@pytest.mark.parametrize("name", ["record.json", "table.parquet"])
def test_one_flipped_bit_is_noticed_wherever_it_is(folder: Path, name: str) -> None:
    path = folder / "records" / GRID[2].key / name
    whole = path.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        raw = bytearray(whole)
        raw[place] ^= 1 << (place % 8)
        path.write_bytes(raw)
        try:
            same = load_study(folder).records[GRID[2].key]
        except StoreError as error:
            assert GRID[2].key in str(error)  # noqa: PT017
            assert "only this condition is computed anew" in str(error)  # noqa: PT017
        else:  # a bit of white space in the JSON text
            assert name == "record.json"
            path.write_bytes(whole)
            assert load_study(folder).records[GRID[2].key] == same


def test_an_unfinished_record_is_left_out(folder: Path) -> None:
    (folder / "records" / GRID[1].key / "record.json").unlink()
    assert len(load_study(folder)) == 5


def test_a_loop_of_links_is_no_record(folder: Path) -> None:
    loop = folder / "records" / "0123456789abcdef"
    loop.symlink_to(loop)
    (folder / "records" / "inner").symlink_to(folder / "records")
    assert len(load_study(folder)) == 6
    assert len(Ledger(folder).left(GRID)) == 0


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="at least one folder"):
        load_study()
    with pytest.raises(StoreError, match="holds no study"):
        load_study(tmp_path / "nowhere*")
    Ledger(tmp_path)
    with pytest.raises(RequestError, match="no condition is done"):
        _ = load_study(tmp_path).table
