"""Logs are read as their own tools wrote them, without these tools."""

from __future__ import annotations

import contextlib
import math
import shutil
import sqlite3
from pathlib import Path

import pytest

import wingbeat as wb
from wingbeat.errors import RequestError

LOGS = Path(__file__).parent / "logs"
METRIC = "eval/accuracy"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """MLflow's database, of the statements that it was dumped as."""
    path = tmp_path / "mlflow.db"
    with contextlib.closing(sqlite3.connect(path)) as base:
        base.executescript((LOGS / "mlflow_db.sql").read_text())
        base.commit()
    return path


FOLDERS = {
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "mlflow": "mlflow",
    "lightning": "csv",
    "trainer": "trainer",
}


@pytest.mark.parametrize("folder", [*FOLDERS, "database"])
def test_what_each_tool_wrote(folder: str, database: Path) -> None:
    runs = wb.read_runs(database if folder == "database" else LOGS / folder)
    assert {run.tracker for run in runs.runs} == {FOLDERS.get(folder, "mlflow")}
    found = {run.seed: run.values[METRIC] for run in runs.runs}
    assert set(found) == {0, 1}  # the third run of MLflow was deleted
    for seed, values in found.items():
        assert values.keys() == {10, 20}
        for step, value in values.items():
            assert value == pytest.approx(0.5 + 0.01 * seed + 0.001 * step, rel=1e-6)
    assert runs.notes == ()


def test_values_that_are_no_numbers_stay(tmp_path: Path) -> None:
    for run in wb.read_runs(LOGS / "wandb").runs:
        assert run.values["deep.loss"][10] == pytest.approx(0.1)
        assert math.isnan(run.values["deep.loss"][30])
    path = tmp_path / "seed-3.csv"
    path.write_text("step,loss\n1,0.5\n2,\n3,nan\n")
    (run,) = wb.read_runs(path).runs
    assert run.seed == 3
    assert run.values["loss"][1] == 0.5
    assert math.isnan(run.values["loss"][3])
    assert 2 not in run.values["loss"]


def test_tables_with_a_column_for_the_run(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    path.write_text("seed,epoch,acc\n4,1,0.5\n4,2,0.6\n5,1,0.4\n5,2,0.7\n")
    runs = wb.read_runs(path)
    assert {run.seed: run.values["acc"] for run in runs.runs} == {
        4: {1: 0.5, 2: 0.6},
        5: {1: 0.4, 2: 0.7},
    }


def test_a_log_that_is_cut_off_is_read_to_its_end(tmp_path: Path) -> None:
    """As of a run that was killed, or goes on."""
    for origin in [*LOGS.glob("tensorboard/seed-1/*"), LOGS / "wandb" / "run-1.wandb"]:
        folder = tmp_path / origin.name
        folder.mkdir()
        whole = origin.read_bytes()
        for cut in (1, len(whole) // 3, len(whole) // 2):
            (folder / origin.name).write_bytes(whole[:-cut])
            try:
                (run,) = wb.read_runs(folder).runs
            except RequestError:
                continue  # cut before its first value
            for values in run.values.values():
                assert set(values) <= {10, 20, 30}


BAD = {
    "x.csv": ("a,b\n1,2\n", "counts"),
    "y.csv": ("step,b\n0.5,2\n", "whole numbers"),
    "run.wandb": ("nothing", "W&B"),
    "trainer_state.json": ("{", "trainer"),
    "m.db": ("no base", "database"),
    "meta.yaml": ("a: [", "YAML"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_log_is_left_out_and_named(name: str, tmp_path: Path) -> None:
    text, word = BAD[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(RequestError, match=word):
        wb.read_runs(tmp_path)
    shutil.copytree(LOGS / "trainer", tmp_path / "good")
    runs = wb.read_runs(f"{tmp_path}/**")
    assert len(runs) == 2
    assert word in runs.notes[0]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="matches no file"):
        wb.read_runs(f"{tmp_path}/none/**")
    with pytest.raises(RequestError, match="no logged run"):
        wb.read_runs(tmp_path)
    with pytest.raises(RequestError, match="tracker is 'tb'"):
        wb.read_runs(LOGS, tracker="tb")


def test_a_run_that_two_trackers_logged_counts_once(tmp_path: Path) -> None:
    for folder in ("trainer", "lightning"):
        shutil.copytree(LOGS / folder, tmp_path / folder)
    runs = wb.read_runs(tmp_path)
    with pytest.raises(RequestError, match="by csv and by trainer"):
        runs.curve(METRIC)
    assert len(wb.read_runs(tmp_path, tracker="csv").curve(METRIC)) == 2
