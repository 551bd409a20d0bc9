"""Files made to do harm are refused and named; no code of theirs ever runs."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import zipfile

import pytest
import torch
from checkpoints.ck_files import Evil, sharded, state, written
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wingbeat.checkpoints import compare, open_checkpoint
from wingbeat.checkpoints.pattern import find_files
from wingbeat.errors import StoreError, WingbeatError
from wingbeat.replicas.snapshot import Snapshot
from wingbeat.trajectory.store import FolderStore

FRESH = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def marker(tmp_path):
    """A file that appears as soon as code of a checkpoint runs."""
    return tmp_path / "code-ran"


def test_the_trap_works(marker, tmp_path):
    """Unpickled without care, the evil object does leave its mark."""
    pickle.loads(pickle.dumps(Evil(marker)))
    assert marker.exists()


def posing(name, marker, folder):
    path = folder / "model.safetensors"
    if name == "pickle":
        path.write_bytes(pickle.dumps({"w": Evil(marker)}))
    else:
        old = {"_use_new_zipfile_serialization": False} if name == "old" else {}
        torch.save({"w": torch.ones(2), "e": Evil(marker)}, path, **old)
    return path


@pytest.mark.parametrize("name", ["pickle", "zip", "old"])
def test_a_pickle_posing_as_safetensors_is_refused_and_named(tmp_path, marker, name):
    path = posing(name, marker, tmp_path)
    for target in (path, tmp_path):
        with pytest.raises(StoreError, match=r"(?s)model\.safetensors.*pickle.*refused") as caught:
            open_checkpoint(target)
        assert "named safetensors" in str(caught.value)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["pickle", "zip", "old"])
def test_a_pickle_posing_as_a_shard_is_refused(tmp_path, marker, name):
    folder = sharded(tmp_path / "hf", state(1), 2)
    bad = posing(name, marker, tmp_path)
    shutil.move(bad, folder / "model-00002-of-00002.safetensors")
    with pytest.raises(StoreError, match=r"model-00002-of-00002\.safetensors.*refused"):
        open_checkpoint(folder)
    assert not marker.exists()


def test_safetensors_under_another_name_are_read_for_what_they_are(tmp_path):
    path = written(tmp_path / "model.pt", state(1))
    assert open_checkpoint(path).format == "safetensors"


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "old"])
@pytest.mark.parametrize("where", ["value", "tensor", "key"])
def test_a_pt_with_code_in_it_is_refused_and_the_code_does_not_run(
    tmp_path, marker, archive, where
):
    good, evil = torch.ones(3), Evil(marker)
    content = {
        "value": {"w": good, "e": evil},
        "tensor": {"w": evil},
        "key": {"state_dict": {"w": good}, "hparams": [evil]},
    }[where]
    path = tmp_path / "e.pt"
    torch.save(content, path, _use_new_zipfile_serialization=archive)
    with pytest.raises(StoreError, match=r"e\.pt asks to run code.*nothing of it was run"):
        open_checkpoint(path)
    assert not marker.exists()


def test_a_whole_module_in_a_pt_is_refused_with_advice(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "m.pt")
    with pytest.raises(StoreError, match=r"Save model\.state_dict\(\)"):
        open_checkpoint(tmp_path / "m.pt")


def rewritten(source, target, change=None, compression=zipfile.ZIP_STORED, extra=()):
    """Copy an archive entry by entry, with some of them replaced."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for info in old.infolist():
            content = old.read(info.filename)
            new.writestr(info.filename, (change or {}).get(info.filename, content))
        for name, content in extra:
            new.writestr(name, content)
    return target


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good" / "x.pt"
    path.parent.mkdir()
    torch.save({"w": torch.zeros(1000), "b": torch.ones(2)}, path)
    return path


def test_a_zip_bomb_is_refused_by_its_declared_sizes(tmp_path, good, monkeypatch):
    """An entry of 200 MB in a file of less than half a megabyte."""
    bomb = tmp_path / "bomb.pt"
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info.filename))
        with new.open("x/data/2", "w", force_zip64=True) as entry:
            piece = bytes(1 << 20)
            for _ in range(200):
                entry.write(piece)
    assert bomb.stat().st_size < 2**19

    def reading(*_, **__):
        pytest.fail("an entry was read before its size was judged")

    monkeypatch.setattr(zipfile.ZipFile, "open", reading)
    monkeypatch.setattr(torch, "load", reading)
    with pytest.raises(StoreError, match=r"bomb\.pt is no sound.*compressed and claims"):
        open_checkpoint(bomb)


def test_declared_sizes_beyond_the_file_and_entries_over_each_other(tmp_path, good):
    content = bytearray(good.read_bytes())
    begin = content.rindex(b"PK\1\2", 0, content.index(b"x/data/0", content.index(b"PK\1\2")))
    sizes = struct.pack("<II", 2**31, 2**31)
    content[begin + 20 : begin + 28] = sizes
    path = tmp_path / "liar.pt"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="over another or outside the file"):
        open_checkpoint(path)
    content = bytearray(good.read_bytes())
    second = content.rindex(b"PK\1\2", 0, content.rindex(b"x/data/1"))
    first = content.rindex(b"PK\1\2", 0, content.rindex(b"x/data/0"))
    content[second + 42 : second + 46] = content[first + 42 : first + 46]
    path.write_bytes(content)
    with pytest.raises(StoreError, match="over another"):
        open_checkpoint(path)


def test_entries_that_occur_twice_or_point_outside(tmp_path, good):
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = rewritten(good, tmp_path / "twice.pt", extra=[("x/data/0", b"else")])
    with pytest.raises(StoreError, match="'x/data/0' occurs twice"):
        open_checkpoint(twice)
    for name in ("../../etc/cron.d/x", "/etc/passwd", "x/data/../../../y"):
        path = rewritten(good, tmp_path / "outside.pt", extra=[(name, b"z")])
        with pytest.raises(StoreError, match="points outside"):
            open_checkpoint(path)


def test_a_tensor_that_claims_more_than_its_entry_holds(tmp_path, good):
    """The storage is cut to 40 bytes; the pickle still says 1000 numbers."""
    path = rewritten(good, tmp_path / "short.pt", {"x/data/0": bytes(40)})
    with pytest.raises(StoreError, match=r"short\.pt"):
        compare([path, path])


def test_a_tensor_expanded_to_terabytes_is_not_made(tmp_path):
    torch.save({"w": torch.ones(1).expand(2**40)}, tmp_path / "huge.pt")
    with pytest.raises(WingbeatError, match="not contiguous"):
        open_checkpoint(tmp_path / "huge.pt")


@pytest.mark.parametrize(
    "name",
    ["../x.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "a\\b", "C:x", "a\0b", "a\nb"],
)
def test_path_traversal_in_an_index_is_refused(tmp_path, name):
    written(tmp_path / "x.safetensors", state(1))
    folder = tmp_path / "hf"
    folder.mkdir()
    index = {"weight_map": {"w": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(StoreError, match="only files beside the index are read"):
        open_checkpoint(folder)


def test_symbolic_links_in_a_circle(tmp_path):
    one, two = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    one.symlink_to(two)
    two.symlink_to(one)
    with pytest.raises(StoreError, match=r"a\.safetensors cannot be read"):
        open_checkpoint(one)
    (tmp_path / "run-0").mkdir()
    (tmp_path / "run-0" / "run-1").symlink_to(tmp_path)
    written(tmp_path / "run-0" / "step-1.safetensors", state(1))
    found = find_files(f"{tmp_path}/run-*/step-*.safetensors")
    assert list(found.paths) == [("0", 1)]
    index = sharded(tmp_path / "hf", state(1), 2)
    shard = index / "model-00001-of-00002.safetensors"
    shard.unlink()
    shard.symlink_to(shard)
    with pytest.raises(WingbeatError, match="model-00001"):
        open_checkpoint(index)


def test_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(WingbeatError, match="is no file"):
        open_checkpoint(tmp_path / "pipe.safetensors")


def test_one_flipped_bit_of_a_pt_is_detected(tmp_path, good):
    content = bytearray(good.read_bytes())
    place = content.index(bytes(4000)) + 1234
    content[place] ^= 4
    path = tmp_path / "flipped.pt"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"flipped\.pt was altered.*x/data/0|archive/data/0"):
        compare([good, path])
    assert compare([good, path], check=False).l2[1] > 0, "only the checksum can tell"
    assert compare([good, good]).checked == (True, True)


def test_one_flipped_bit_of_a_wingbeat_snapshot_is_detected(tmp_path):
    store = FolderStore(tmp_path, create=True)
    labels = ("reference", "null")
    tensors = {"w": torch.ones(2, 3, dtype=torch.bfloat16)}
    store.append(Snapshot(0, labels, tensors, {"n": torch.zeros(2)}, torch.zeros(0, 2)))
    path = tmp_path / "snapshots" / "000000.safetensors"
    assert compare([path, path]).checked == (True, True)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"000000\.safetensors was altered"):
        compare([path, path])


@pytest.mark.parametrize("kind", ["safetensors", "pt", "old", "index"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.999])
def test_a_file_cut_short_is_refused_by_name(tmp_path, kind, share):
    if kind == "safetensors":
        path = written(tmp_path / "cut.safetensors", state(1))
    elif kind == "index":
        path = sharded(tmp_path / "hf", state(1)) / "model.safetensors.index.json"
    else:
        path = tmp_path / "cut.pt"
        torch.save(state(1), path, _use_new_zipfile_serialization=kind == "pt")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WingbeatError) as caught:
        compare([path, path])
    assert path.name in str(caught.value)


@FRESH
@given(st.data())
def test_a_pt_altered_anywhere_is_refused_or_read_but_runs_nothing(tmp_path, data):
    path = tmp_path / "a.pt"
    torch.save({"w": torch.ones(5), "b": torch.zeros(2, 3)}, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        found = compare([path, path])
    except WingbeatError:
        return
    assert found.parameters <= 11
