"""A run's folder notices what was changed in it, and what is gone; nothing is sealed half."""

from __future__ import annotations

import json
import os
import shutil
import unittest.mock
from pathlib import Path

import pytest
import torch
from torch import nn

import wingbeat as wb
from wingbeat.execution import session
from wingbeat.execution.summary_file import WITHOUT_DIGESTS
from wingbeat.trajectory.store import FolderStore

OPTIONS = {"replicas": 2, "record_every": 4, "driver": "loop", "progress": False}
FILES = ("summary.json", "sealed.json", "members.json", "environment.json", "condition.json")


def task() -> wb.Task:
    inputs = torch.randn(32, 3, generator=torch.Generator().manual_seed(0))
    return wb.Task(
        lambda: nn.Linear(3, 2),
        lambda m, batch: m(batch[0]).square().mean(),
        (inputs,),
        lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9),
        batch_size=8,
        steps=12,
    )


def go(folder: Path) -> wb.Result:
    return wb.run(task(), wb.Gaussian(0.1), out=folder, **OPTIONS)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "run"
    go(folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def whole(folder: Path) -> str:
    """Everything that is read of a folder, as one text."""
    found = wb.load(folder)
    again = go(folder)
    values = [t.sum().item() for s in found.steps for t in found.trajectory.at(s).params.values()]
    tables = found.table.to_csv() + again.table.to_csv()
    members = json.dumps(found.perturbations)
    return json.dumps([found.summary, found.condition, values, found.warnings]) + tables + members


@pytest.mark.parametrize("name", FILES)
def test_no_flipped_bit_gives_another_number(folder: Path, made: Path, name: str) -> None:
    """Refused by name, or nothing that is read has changed."""
    path, right = folder / name, whole(made)
    content = path.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 12)):
        for bit in (0, 4):
            flipped = bytearray(content)
            flipped[place] ^= 1 << bit
            path.write_bytes(bytes(flipped))
            try:
                read = whole(folder)
            except wb.StoreError as error:
                read = right if name in str(error) else str(error)
            assert read == right, (place, bit)
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["condition.json", "environment.json", "members.json"])
def test_a_lost_file_is_missed_by_name(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / "summary.json").unlink()  # so that measures are made anew
    with pytest.raises(wb.StoreError, match=name):
        go(folder)


@pytest.mark.parametrize("name", ["condition.json", "environment.json", "sealed.json"])
def test_a_result_without_them_is_not_read(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(wb.StoreError, match=rf"{name} is missing"):
        wb.load(folder)


def test_a_digest_that_was_taken_out_is_missed(folder: Path) -> None:
    path = folder / "summary.json"
    content = json.loads(path.read_text())
    del content["sha256"]
    content["summary"]["noise_floor"]["value"] = 1.0
    path.write_text(json.dumps(content))
    with pytest.raises(wb.StoreError, match="lost its digest"):
        wb.load(folder)


def test_a_folder_of_before_is_read_and_says_so(folder: Path) -> None:
    for name in FILES:
        content = json.loads((folder / name).read_text())
        del content["sha256"]
        content = content["content"] if set(content) == {"content"} else content
        (folder / name).write_text(json.dumps(content))
    assert wb.load(folder).warnings[-1] == WITHOUT_DIGESTS


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda found: found.pop("table"), "table"),
        (lambda found: found.update(extra=1), "extra"),
        (lambda found: found.update(seeds="0"), "seeds"),
        (lambda found: found.update(summary=[]), "summary"),
    ],
)
def test_keys_that_are_missing_or_unknown_are_named(folder: Path, change, named: str) -> None:
    store = FolderStore(folder)
    found = store.read_json("summary.json")
    change(found)
    store.write_json("summary.json", found)  # with a digest that fits: a stranger's folder
    with pytest.raises(wb.StoreError, match=named):
        wb.load(folder)


def test_another_runs_snapshot_is_not_taken_for_ours(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    wb.run(task(), wb.Gaussian(0.5), out=other, **OPTIONS)  # type: ignore[arg-type]
    shutil.copy(other / "snapshots" / "000008.safetensors", folder / "snapshots")
    with pytest.raises(wb.StoreError, match="not the snapshot that this run sealed"):
        wb.load(folder).trajectory.at(8)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
@pytest.mark.parametrize("name", ["summary.json", "table.parquet", "snapshots/000008.safetensors"])
def test_what_is_no_file_is_refused_before_it_is_read(folder: Path, name: str, kind: str) -> None:
    """A pipe would wait for ever; a device without end would fill the memory."""
    (folder / name).unlink()
    if kind == "pipe":
        os.mkfifo(folder / name)
    elif kind == "device":
        (folder / name).symlink_to("/dev/zero")
    else:
        (folder / name).mkdir()
    with pytest.raises(wb.StoreError, match="no regular file"):
        wb.load(folder).trajectory.at(8)


def stopped(folder: Path, at: int) -> None:
    """Train in a folder until the data fail at a step, as of a process that ends there."""

    real = session.advance

    def until(course, steps):
        for snapshot in real(course, steps):
            yield snapshot
            if course.done >= at:
                raise wb.RunError("stopped")

    with unittest.mock.patch.object(session, "advance", until), pytest.raises(wb.RunError):
        go(folder)


def test_a_snapshot_that_was_lost_is_trained_anew(made: Path, tmp_path: Path) -> None:
    """Not sealed as if it had never been asked for: same table as of a run without loss."""
    folder = tmp_path / "run"
    stopped(folder, 9)
    (folder / "snapshots" / "000004.safetensors").unlink()
    found = go(folder)
    assert found.steps == (0, 4, 8, 12)
    assert found.table.equals(wb.load(made).table)


def test_a_snapshot_that_vanishes_while_it_trains_is_not_sealed_away(tmp_path: Path) -> None:
    folder, real = tmp_path / "run", session.advance

    def losing(course, steps):
        for snapshot in real(course, steps):
            yield snapshot
            if course.done == 11:
                (folder / "snapshots" / "000004.safetensors").unlink()

    with (
        unittest.mock.patch.object(session, "advance", losing),
        pytest.raises(wb.StoreError, match="step 4 was recorded and is gone"),
    ):
        go(folder)
    assert not (folder / "sealed.json").exists()
    assert go(folder).steps == (0, 4, 8, 12)


def test_a_run_below_another_keeps_its_half_written_files(tmp_path: Path) -> None:
    inner = tmp_path / "base" / "a" / "snapshots"
    inner.mkdir(parents=True)
    (inner / ".writing-alive").write_bytes(b"half")
    go(tmp_path / "base")
    assert (inner / ".writing-alive").exists()


def test_files_are_never_written_through_a_link(tmp_path: Path) -> None:
    """Whatever lies in a stranger's folder: only that folder is written."""
    folder, mine = tmp_path / "run", tmp_path / "mine.txt"
    go(folder)
    mine.write_text("precious")
    for name in (".report.html.part", ".writing-0", "report.html"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(mine)
    wb.load(folder).report(folder / "report.html")
    assert mine.read_text() == "precious"
    assert not (folder / "report.html").is_symlink()


def test_permissions_are_those_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        go(tmp_path / "run")
    finally:
        os.umask(before)
    modes = {p.stat().st_mode & 0o777 for p in (tmp_path / "run").rglob("*") if p.is_file()}
    assert modes <= {0o600}
