"""Damaged, full, read-only and oddly named folders: a clear error, and nothing is lost."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
from contextlib import contextmanager

import pytest
from run import tasks
from run.tasks import contents, plain
from safetensors.torch import load_file

import wingbeat as wb
from wingbeat.trajectory.store import FolderStore


def go(folder, task=None, **options):
    options = {"replicas": 2, "record_every": 4, "driver": "loop", **options}
    return wb.run(task or plain(steps=8), [wb.Gaussian(0.01)], out=folder, **options)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept") / "run"
    go(folder)
    return folder


@pytest.fixture
def folder(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "run")


@contextmanager
def stopped_after(writes):
    """Let files be written a number of times, then let the disk be full."""
    sync, seen = os.fsync, 0

    def limited(descriptor):
        nonlocal seen
        seen += 1
        if seen > writes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    os.fsync = limited
    try:
        yield
    finally:
        os.fsync = sync


def flip(path, place):
    raw = bytearray(path.read_bytes())
    raw[place] ^= 16
    path.write_bytes(raw)


@pytest.mark.parametrize("place", [3, 60, -1], ids=["length", "header", "payload"])
def test_an_altered_snapshot_is_named(folder, place):
    flip(folder / "snapshots" / "000004.safetensors", place)
    result = wb.load(folder)
    with pytest.raises(wb.StoreError, match=r"000004\.safetensors"):
        result.trajectory.at(4)
    assert result.trajectory.at(8).step == 8, "the others stay readable"


def test_a_damaged_snapshot_stops_a_new_measurement(folder):
    path = folder / "snapshots" / "000004.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    before = contents(folder)
    with pytest.raises(wb.StoreError, match=r"000004\.safetensors"):
        go(folder, metrics=("+barrier",))
    assert contents(folder) == before


def test_a_lost_snapshot_of_a_finished_run_is_named(folder):
    (folder / "snapshots" / "000004.safetensors").unlink()
    with pytest.raises(wb.StoreError, match=r"000004|step 4"):
        go(folder, metrics=("+barrier",))


@pytest.mark.parametrize("place", [3, 60, -1])
def test_an_altered_state_is_named(tmp_path, place):
    with stopped_after(12), pytest.raises(wb.StoreError):
        go(tmp_path, checkpoint_seconds=0.0)
    state = tmp_path / "state" / "latest.safetensors"
    flip(state, place)
    with pytest.raises(wb.StoreError, match=r"latest\.safetensors"):
        go(tmp_path, checkpoint_seconds=0.0)


@pytest.mark.parametrize("name", ["condition.json", "environment.json", "summary.json"])
def test_a_damaged_description_is_named(folder, name):
    path = folder / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(wb.StoreError, match=name):
        wb.load(folder)
    with pytest.raises(wb.StoreError, match=name):
        go(folder)


@pytest.mark.parametrize("harm", ["cut", "flip", "empty", "gone"])
def test_a_damaged_table_is_named_and_made_anew(folder, harm):
    path, before = folder / "table.parquet", contents(folder)
    if harm == "flip":
        flip(path, len(path.read_bytes()) // 2)
    elif harm == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: 100 if harm == "cut" else 0])
    with pytest.raises(wb.StoreError, match=r"table\.parquet") as caught:
        wb.load(folder)
    assert "run the same command again; the table is made anew" in str(caught.value)
    go(folder)
    assert contents(folder) == before


def test_not_a_run(tmp_path):
    with pytest.raises(wb.StoreError, match="holds no run"):
        wb.load(tmp_path / "nothing here")


@pytest.mark.slow
def test_a_full_disk_at_every_write(tmp_path, kept):
    """Whichever write fails: the error names the file, all stays whole, the next start goes on."""
    expected, writes = contents(kept), 0
    while True:
        folder = tmp_path / f"full-{writes}"
        try:
            with stopped_after(writes):
                go(folder, checkpoint_seconds=0.0)
            break
        except wb.StoreError as error:
            assert "cannot be written (No space left on device)" in str(error)  # noqa: PT017
            assert str(folder) in str(error)  # noqa: PT017
        store = FolderStore(folder)
        assert [store.read(step).step for step in store.steps()] == store.steps()
        assert not list(folder.rglob(".writing-*"))
        if writes % 4 == 1:
            go(folder, checkpoint_seconds=0.0)
            assert contents(folder) == expected
        writes += 1
    assert writes > 15, "condition, environment, snapshots, states, table and summary"
    assert contents(folder) == expected


def test_a_file_size_limit(tmp_path):
    """The kernel's own refusal, as a full disk gives it, in the middle of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2500, before[1]))
        with pytest.raises(wb.StoreError, match=r"cannot be written \(File too large\)"):
            go(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(tmp_path.rglob(".writing-*"))
    assert go(tmp_path).noise_floor == 0


def test_a_path_below_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(wb.StoreError, match="cannot be made") as caught:
            go(path)
        assert str(path) in str(caught.value)


def test_a_folder_that_may_not_be_written(tmp_path, monkeypatch):
    """Root may write anywhere, hence the refusal comes from the calls themselves."""
    import pathlib

    def refused(path, *_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(pathlib.Path, "mkdir", refused)
    with pytest.raises(wb.StoreError, match=r"cannot be made \(Permission denied\)"):
        go(tmp_path / "run")


def test_a_lock_that_may_not_be_taken(kept, folder, monkeypatch):
    import filelock

    def refused(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    monkeypatch.setattr(filelock.FileLock, "_acquire", refused)
    with pytest.raises(wb.StoreError, match=r"cannot be written \(Permission denied\)"):
        go(folder, metrics=("+barrier",))
    assert go(folder).summary == wb.load(kept).summary, "a finished run needs no lock"


def test_dangling_and_good_symbolic_links(tmp_path, kept):
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(wb.StoreError, match="dangling"):
        go(tmp_path / "dangling")
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    go(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert contents(tmp_path / "target") == contents(kept)


ODD = "a run, 'größer' \"than\" <b>1 & 2</b> 例 #1 %s {x}"


def test_odd_names_of_folders_and_perturbations(tmp_path):
    name = "größe 'q' \"d\" <i>x</i> & 例 100%"
    folder = tmp_path / ODD / "inner one"
    forks = [wb.Gaussian(0.01, name=name), wb.Gaussian(0.01, name="b\nc", at=2)]
    result = wb.run(
        plain(steps=4), forks, replicas=2, record_every=2, driver="loop", out=str(folder)
    )
    assert result.labels[2:] == (f"{name}#1", f"{name}#2", "b\nc#1", "b\nc#2")
    again = wb.load(folder)
    assert again.labels == result.labels
    assert set(again.table.perturbation) == {"", "null", name, "b\nc"}
    assert f"{name}/convergence_ratio" in again.summary
    page = again.report(folder / "report <1>.html").read_text(encoding="utf-8")
    assert "<i>x</i>" not in page
    (folder / "summary.json").unlink()
    (folder / "table.parquet").unlink()
    wb.run(plain(steps=4), forks, replicas=2, record_every=2, driver="loop", out=str(folder))
    assert wb.load(folder).table.equals(result.table)


def test_the_files_are_read_without_wingbeat(folder):
    """Plain safetensors, replica axis first; plain JSON; plain Parquet."""
    import json

    import pandas as pd

    result = wb.load(folder)
    found = load_file(folder / "snapshots" / "000008.safetensors")
    assert found["0.weight"].shape == (4, 5, 4)
    assert found["wingbeat.losses"].shape == (4, 4)
    assert (found["2.bias"] == result.trajectory.at(8).params["2.bias"]).all()
    assert pd.read_parquet(folder / "table.parquet").equals(result.table)
    condition = json.loads((folder / "condition.json").read_text(encoding="utf-8"))
    assert condition["replicas"] == 2
    assert condition["task"]["steps"] == 8
    assert tasks.points()[0].shape == (70, 4)
    wanted = {"condition.json", "environment.json", "summary.json", "table.parquet", "snapshots"}
    assert wanted <= {p.name for p in folder.iterdir()}
