"""Readers refuse what is damaged or made to mislead, and say where."""

from __future__ import annotations

import json
import re

import pytest
import torch
from checkpoints.ck_files import raw, sharded, state, written
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from wingbeat.checkpoints import compare, open_checkpoint
from wingbeat.checkpoints.pattern import find_files
from wingbeat.checkpoints.single_file import read_safetensors
from wingbeat.checkpoints.source import read_whole
from wingbeat.errors import RequestError, StoreError, WingbeatError

FRESH = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def test_a_file_of_the_library_comes_back(tmp_path):
    tensors = state(3)
    path = written(tmp_path / "a.bin", tensors, note="hello")
    source = read_safetensors(path)
    assert source.metadata["note"] == "hello"
    assert source.format == "safetensors"
    for name, tensor in tensors.items():
        assert torch.equal(read_whole(source.entries[name]), tensor)
    assert source.check(lambda _: None) is False, "plain safetensors have no checksum"


HEADERS = {
    "overlap": {"a": F32, "b": {**F32, "data_offsets": [4, 12]}},
    "same place": {"a": F32, "b": F32},
    "gap": {"a": F32, "b": {**F32, "data_offsets": [12, 20]}},
    "beyond the file": {"a": {**F32, "shape": [2**40], "data_offsets": [0, 2**42]}},
    "too few bytes": {"a": {**F32, "shape": [3]}},
    "absurd shape": {"a": {**F32, "shape": [2**62, 2**62, 0, 2**62, 2]}},
    "negative": {"a": {**F32, "shape": [-2], "data_offsets": [8, 0]}},
    "float shape": {"a": {**F32, "shape": [2.0]}},
    "truth as shape": {"a": {**F32, "shape": [True, 2]}},
    "text as shape": {"a": {**F32, "shape": "2"}},
    "unknown type": {"a": {**F32, "dtype": "F33"}},
    "type is a list": {"a": {**F32, "dtype": ["F32"]}},
    "three places": {"a": {**F32, "data_offsets": [0, 8, 8]}},
    "no description": {"a": 3},
    "nothing": {},
    "metadata is a list": {"__metadata__": [], "a": F32},
    "half a byte": {"a": {"dtype": "F4", "shape": [15], "data_offsets": [0, 8]}},
}


@pytest.mark.parametrize("name", HEADERS)
def test_an_unsound_header_is_refused(tmp_path, name):
    size = 20 if name == "gap" else 12 if name == "overlap" else 8
    path = raw(tmp_path / "x.safetensors", HEADERS[name], bytes(size))
    with pytest.raises(StoreError, match="no sound safetensors file") as caught:
        open_checkpoint(path)
    assert str(path) in str(caught.value)


def test_a_name_that_occurs_twice_is_refused(tmp_path):
    text = b'{"a":' + json.dumps(F32).encode() + b',"a":' + json.dumps(F32).encode() + b"}"
    with pytest.raises(StoreError, match="'a' occurs twice"):
        open_checkpoint(raw(tmp_path / "x.safetensors", text, bytes(8)))


@pytest.mark.parametrize("length", [2**63, 2**40, 100_000_001, 500])
def test_an_absurd_header_length_is_refused_before_it_is_read(tmp_path, length):
    path = raw(tmp_path / "x.safetensors", {"a": F32}, bytes(8), length=length)
    with pytest.raises(StoreError, match=f"claims {length:,} bytes"):
        open_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"\x05", bytes(7), bytes(8), b"{" * 30])
def test_short_files_are_refused(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(WingbeatError, match=r"x\.safetensors"):
        open_checkpoint(path)


def test_deeply_nested_headers_do_not_end_the_process(tmp_path):
    deep = b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    with pytest.raises(StoreError, match="no JSON object"):
        open_checkpoint(raw(tmp_path / "x.safetensors", deep))
    index = tmp_path / "model.safetensors.index.json"
    index.write_bytes(deep)
    with pytest.raises(StoreError, match="is no JSON"):
        open_checkpoint(index)


@FRESH
@given(st.data())
def test_a_file_altered_anywhere_is_refused_or_read_without_another_error(tmp_path, data):
    """Any byte of the header changed: a named refusal, or what the safetensors library says."""
    path = written(tmp_path / "a.safetensors", {"w": torch.ones(3), "b": torch.zeros(2, 2)})
    content = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    place = data.draw(st.integers(0, header - 1))
    content[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 6))
    path.write_bytes(content[: len(content) - cut])
    try:
        found = {e.name: (e.shape, e.dtype) for e in read_safetensors(path).entries.values()}
    except StoreError:
        with pytest.raises(StoreError, match=re.escape(str(path))):
            read_safetensors(path)
        return
    with safe_open(path, framework="pt") as file:
        theirs = {n: tuple(file.get_slice(n).get_shape()) for n in file.keys()}  # noqa: SIM118
    assert {n: shape for n, (shape, _) in found.items()} == theirs


@FRESH
@given(st.binary(max_size=200), st.sampled_from(["x.safetensors", "x.pt", "x.json", "x"]))
def test_any_bytes_are_refused_by_name(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(WingbeatError) as caught:
        open_checkpoint(path)
    assert name in str(caught.value)


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
DESCRIBED = st.dictionaries(
    st.text(max_size=4),
    st.fixed_dictionaries(
        {
            "dtype": st.sampled_from(["F32", "BF16", "I8", "F4", "X"]),
            "shape": st.lists(st.integers(0, 3), max_size=3),
            "data_offsets": st.lists(st.integers(0, 12), min_size=2, max_size=2),
        }
    ),
    max_size=3,
)


@FRESH
@given(JSONS | DESCRIBED, st.integers(0, 24))
def test_any_header_is_taken_only_where_the_library_takes_it(tmp_path, header, size):
    path = raw(tmp_path / "x.safetensors", header, bytes(size))
    try:
        found = set(read_safetensors(path).entries)
    except StoreError:
        return
    with safe_open(path, framework="np") as file:
        assert set(file.keys()) == found


@FRESH
@given(JSONS)
def test_any_index_is_refused_by_name(tmp_path, content):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": content}))
    with pytest.raises(StoreError, match="is no sound index"):
        open_checkpoint(tmp_path)


def test_an_index_with_a_missing_shard_or_tensor(tmp_path):
    folder = sharded(tmp_path / "hf", state(1), 2)
    source = open_checkpoint(folder)
    assert source.format == "sharded safetensors"
    index = folder / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["ghost"] = "model-00001-of-00002.safetensors"
    index.write_text(json.dumps(content))
    with pytest.raises(StoreError, match=r"'ghost'.*lacks it"):
        open_checkpoint(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(StoreError, match="not beside it"):
        open_checkpoint(folder)
    assert open_checkpoint(folder / "model-00001-of-00002.safetensors").format == "safetensors"


def test_a_symbolic_link_to_a_shard_is_followed(tmp_path):
    """The cache of the Hugging Face hub links its files to blobs."""
    folder = sharded(tmp_path / "hf", state(1), 2)
    shard = folder / "model-00001-of-00002.safetensors"
    shard.rename(tmp_path / "blob")
    shard.symlink_to(tmp_path / "blob")
    assert set(open_checkpoint(folder).entries) == set(state(1))


def test_folders_and_things_that_are_no_checkpoint(tmp_path):
    with pytest.raises(RequestError, match="there is no"):
        open_checkpoint(tmp_path / "absent")
    with pytest.raises(RequestError, match="name the file itself"):
        open_checkpoint(tmp_path)
    written(tmp_path / "model.safetensors", state(1))
    assert open_checkpoint(tmp_path).format == "safetensors"
    with pytest.raises(RequestError, match="is no file"):
        open_checkpoint("/dev/null")


def test_a_file_that_shrinks_while_it_is_read(tmp_path):
    path = written(tmp_path / "a.safetensors", {"w": torch.ones(100)})
    entry = open_checkpoint(path).entries["w"]
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(StoreError, match="ends 4 bytes too early"):
        read_whole(entry)


def test_the_pattern_reads_replica_and_step(tmp_path):
    for run in ("2", "10"):
        for step in ("5", "40", "100"):
            folder = tmp_path / f"run-{run}"
            folder.mkdir(exist_ok=True)
            (folder / f"epoch=1-step={step}.pt").touch()
    (tmp_path / "run-2" / "epoch=1-step=last.pt").touch()
    (tmp_path / "run-2" / "epoch=1-step=7.pt").touch()
    (tmp_path / "run-2" / ".hidden.pt").touch()
    found = find_files(f"{tmp_path}/run-*/epoch=1-step=*.pt")
    assert found.replicas == ("2", "10")
    assert found.steps == (5, 40, 100)
    assert found.paths["10", 40] == tmp_path / "run-10" / "epoch=1-step=40.pt"
    assert len(found.dropped) == 2
    named = find_files(f"{tmp_path}/{{replica}}/epoch=*-step={{step}}.pt")
    assert named.replicas == ("run-2", "run-10")
    single = find_files(f"{tmp_path}/run-10/*.pt")
    assert single.replicas == ("",)
    for bad in ("no star", "a/**/b-*.pt"):
        with pytest.raises(RequestError, match="needs"):
            find_files(bad)
    with pytest.raises(RequestError, match="matches no checkpoint"):
        find_files(f"{tmp_path}/walk-*/*.pt")
    with pytest.raises(RequestError, match="are both step 1"):
        find_files(f"{tmp_path}/{{replica}}/epoch={{step}}-step*.pt")


def test_compare_streams_what_it_opened_in_any_mixture(tmp_path):
    one = written(tmp_path / "m.safetensors", state(1))
    assert compare([one, sharded(tmp_path / "hf", state(1))]).l2.tolist() == [0.0, 0.0]
