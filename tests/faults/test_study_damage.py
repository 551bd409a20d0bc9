"""Studies on full, read-only, damaged and odd folders, and under a clock that jumps."""

from __future__ import annotations

import itertools
import resource
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from wingbeat.errors import StoreError
from wingbeat.study import work
from wingbeat.study.condition import Condition
from wingbeat.study.grid import cross
from wingbeat.study.ledger import Ledger
from wingbeat.study.run import run_study
from wingbeat.trajectory.store import FolderStore

GRID = cross(
    Condition("wingbeat.testing.runners:line", replicas=3, metrics=("l2",)),
    {"arguments.lr": [0.05, 0.1]},
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept") / "study"
    run_study(GRID, folder)
    return folder


@pytest.fixture
def folder(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "study")


@contextmanager
def small_disk(place: Path, kilobytes: int):
    """Mount a small disk; where that is not allowed, limit the size of files."""
    place.mkdir()
    size = ["-o", f"size={kilobytes}k"]
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", *size, "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode == 0:
        try:
            yield lambda: subprocess.run(
                ["mount", "-o", "remount,size=20m", str(place)], check=True
            )
        finally:
            subprocess.run(["umount", str(place)], check=True)
        return
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("kilobytes", [24, 40, 64])
def test_a_full_disk_loses_nothing_and_goes_on_with_room(tmp_path, kept, kilobytes):
    out = tmp_path / "disk" / "study"
    with small_disk(tmp_path / "disk", kilobytes) as make_room:
        try:
            found = run_study(GRID, out, tries=1)
        except StoreError as error:
            assert "cannot be" in str(error)  # noqa: PT017
        else:
            assert any("cannot be" in r.error for r in found.failures), "the disk was not full"
        for key in Ledger(out).done():
            Ledger(out).read(key)
        make_room()
        assert run_study(GRID, out).failures == ()
        assert (out / "table.parquet").read_bytes() == (kept / "table.parquet").read_bytes()


def test_a_folder_that_may_not_be_written(tmp_path, folder):
    """As root a mode keeps nobody out; a disk that is mounted read-only does."""
    place = tmp_path / "mounted"
    place.mkdir()
    bound = subprocess.run(
        ["mount", "--bind", str(folder), str(place)], capture_output=True, check=False
    )
    if bound.returncode == 0:
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
            refused(place)
        finally:
            subprocess.run(["umount", str(place)], check=True)
    else:
        for path in (folder, folder / "records"):
            path.chmod(0o555)
        try:
            refused(folder)
        finally:
            for path in (folder, folder / "records"):
                path.chmod(0o755)
    assert run_study(GRID, folder).failures == ()


def refused(place):
    more = cross(GRID[0], {"seed": [7]})
    with pytest.raises(StoreError, match="cannot be") as caught:
        run_study(more, place)
    assert str(place) in str(caught.value)


@pytest.mark.parametrize("name", ["record.json", "table.parquet"])
def test_a_flipped_bit_in_a_record_is_named_and_the_condition_is_made_anew(folder, kept, name):
    place = folder / "records" / GRID[1].key
    raw = bytearray((place / name).read_bytes())
    # Not in a number: another last digit may be the same number, and nothing is altered then.
    raw[raw.index(b"lyapunov") if name == "record.json" else len(raw) // 2] ^= 1
    (place / name).write_bytes(raw)
    with pytest.raises(StoreError, match=f"{GRID[1].key}.*delete the folder") as caught:
        run_study(GRID, folder)
    assert name in str(caught.value)
    shutil.rmtree(place)  # as the message says
    assert run_study(GRID, folder).failures == ()
    assert (folder / "table.parquet").read_bytes() == (kept / "table.parquet").read_bytes()


def test_a_flipped_bit_in_the_journal_is_found_and_its_line_left_out(folder):
    ledger = Ledger(folder)
    whole, events = ledger.journal.read_bytes(), list(ledger.events())
    assert ledger.unreadable() == []
    for place in range(0, len(whole), 7):
        raw = bytearray(whole)
        raw[place] ^= 1 << (place % 7)
        ledger.journal.write_bytes(raw)
        found = list(ledger.events())
        assert all(entry in events for entry in found), "an altered line was used"
        number = whole[:place].count(b"\n") + 1
        if len(found) < len(events):
            assert number in ledger.unreadable()
        else:
            assert found == events, "only white space can change without a trace"
    ledger.journal.write_bytes(b"\xff\xfe not a line\n" + whole)
    assert list(ledger.events()) == events
    assert ledger.unreadable() == [1]
    assert run_study(GRID, folder).failures == (), "what is done is told by the records"


@pytest.mark.parametrize("name", ["state/latest.safetensors", "snapshots/000004.safetensors"])
def test_what_a_stopped_condition_left_is_checked(tmp_path, monkeypatch, kept, name):
    """A half-trained condition with a flipped bit in its state or a snapshot is refused."""
    real = FolderStore.append

    def stopped(store, snapshot):
        if snapshot.step == 8:
            raise RuntimeError("stopped")
        real(store, snapshot)

    with monkeypatch.context() as patch:
        patch.setattr(work, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(FolderStore, "append", stopped)
        assert run_study(GRID, tmp_path, tries=1).failures[0].error == "RuntimeError: stopped"
    path = tmp_path / "records" / GRID[0].key / "run" / "seed-0" / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-3] + bytes([whole[-3] ^ 2]) + whole[-2:])
    found = run_study(GRID, tmp_path, tries=2)
    assert [r.key for r in found.failures] == [GRID[0].key]
    assert path.name in found.failures[0].error
    assert "delete its run folder and compute it again" in found.failures[0].error
    path.write_bytes(whole)  # restored from a copy, as the message says
    assert run_study(GRID, tmp_path).failures == ()
    assert (tmp_path / "table.parquet").read_bytes() == (kept / "table.parquet").read_bytes()


def test_loops_of_links(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(StoreError, match="cannot be made"):
        run_study(GRID, loop / "study")
    out = tmp_path / "study"
    Ledger(out)
    place = out / "records" / GRID[0].key
    place.symlink_to(place)
    found = run_study(GRID, out, tries=1)
    assert [r.key for r in found.failures] == [GRID[0].key]
    assert "cannot be" in found.failures[0].error
    assert Ledger(out).done() == {GRID[1].key}


def test_a_clock_that_jumps_changes_nothing(tmp_path, kept, monkeypatch):
    """Years forward and back between any two looks at the clock."""
    jumps, real = itertools.cycle([0, 1e8, -1e8, 3.6e3, -1.0]), time.time
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps))
    found = run_study(GRID, tmp_path / "study", seconds=600)
    assert found.failures == ()
    assert found.conditions["status"].tolist() == ["done", "done"]
    assert (found.conditions["seconds"] >= 0).all()
    bytes_ = (tmp_path / "study" / "table.parquet").read_bytes()
    assert bytes_ == (kept / "table.parquet").read_bytes()


def test_a_study_out_of_time_begins_nothing_more(tmp_path, monkeypatch):
    begun = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(begun)))
    found = run_study(GRID, tmp_path, seconds=3)
    assert found.conditions["status"].value_counts().to_dict()["not run"] >= 1
    monkeypatch.undo()
    assert run_study(GRID, tmp_path).conditions["status"].tolist() == ["done", "done"]
