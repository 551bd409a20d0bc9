"""Tensor files: whole or absent, readable with plain safetensors, no altered byte unnoticed."""

from __future__ import annotations

import errno
import os

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save

from wingbeat.errors import StoreError
from wingbeat.files import write_bytes
from wingbeat.trajectory import tensorfile
from wingbeat.trajectory.tensorfile import (
    read_described,
    read_one,
    read_tensors,
    write_tensors,
)

DTYPES = (
    torch.float32,
    torch.float64,
    torch.bfloat16,
    torch.float16,
    torch.int64,
    torch.uint8,
    torch.bool,
)


@st.composite
def tensors(draw):
    """A tensor of any type with 0 to 3 axes, some of them empty, filled with random bytes."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    count = int(torch.tensor(shape).prod()) if shape else 1
    size = torch.empty(0, dtype=dtype).element_size()
    raw = draw(st.binary(min_size=count * size, max_size=count * size))
    flat = torch.tensor(list(raw), dtype=torch.uint8)
    filled = flat % 2 > 0 if dtype is torch.bool else flat.view(dtype)
    return filled.reshape(shape)


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda name: name != "__metadata__"
)
META = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3)
ONE_FOLDER = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def same_bits(a, b):
    bits = [x.contiguous().reshape(-1).view(torch.uint8) if x.numel() else x for x in (a, b)]
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(*bits)


@ONE_FOLDER
@given(content=st.dictionaries(NAMES, tensors(), max_size=4), meta=META)
def test_any_tensors_come_back_bit_for_bit(tmp_path, content, meta):
    path = tmp_path / "any.safetensors"
    write_tensors(path, content, meta)
    found, described = read_tensors(path)
    assert described == meta
    assert set(found) == set(content)
    assert all(same_bits(found[name], content[name]) for name in content)


@ONE_FOLDER
@given(content=st.dictionaries(NAMES, tensors(), max_size=3), meta=META, data=st.data())
def test_any_altered_byte_is_noticed(tmp_path, content, meta, data):
    path = tmp_path / "altered.safetensors"
    write_tensors(path, content, meta)
    raw = bytearray(path.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    with pytest.raises(StoreError, match=r"altered\.safetensors"):
        read_tensors(path)


def test_every_byte_of_one_file_counts(tmp_path):
    path = tmp_path / "each.safetensors"
    content = {"w": torch.arange(3.0), "flag": torch.tensor(True), "none": torch.zeros(0, 2)}
    write_tensors(path, content, {"step": 3, "name": 'größe "<1>"'})
    raw = path.read_bytes()
    assert raw[: 8 + int.from_bytes(raw[:8], "little")].endswith(b" "), "the header is padded"
    for place, byte in enumerate(raw):
        for mask in (1, 41, 128):  # 41 turns the padding's space into a tab
            path.write_bytes(raw[:place] + bytes([byte ^ mask]) + raw[place + 1 :])
            with pytest.raises(StoreError, match=r"each\.safetensors"):
                read_tensors(path)


def test_cut_short_anywhere(tmp_path):
    path = tmp_path / "cut.safetensors"
    write_tensors(path, {"w": torch.arange(3.0)}, {})
    raw = path.read_bytes()
    for size in range(len(raw)):
        path.write_bytes(raw[:size])
        with pytest.raises(StoreError, match=r"cut\.safetensors"):
            read_tensors(path)
    with pytest.raises(StoreError, match=r"missing\.safetensors"):
        read_tensors(tmp_path / "missing.safetensors")
    with pytest.raises(StoreError, match=r"missing\.safetensors"):
        read_one(tmp_path / "missing.safetensors", "w")


def of_every_type():
    drawn = torch.Generator().manual_seed(0)
    found = {}
    for place, dtype in enumerate(tensorfile._TYPES):
        for shape in ((), (0, 2), (3,), (2, 3)):
            size = torch.Size(shape).numel() * dtype.itemsize
            raw = torch.randint(0, 2, (size,), dtype=torch.uint8, generator=drawn)
            first = ("é", "a", 'b"', "z", "0")[place % 5]  # they sort otherwise than they are made
            found[f"{first}{place}{shape}"] = raw.view(dtype).reshape(shape)
    return found


def test_a_file_is_to_the_byte_what_safetensors_writes(tmp_path):
    content = of_every_type()
    write_tensors(tmp_path / "ours", content, {"said": 'é\n\x7f\x01"'})
    with safe_open(tmp_path / "ours", "pt") as file:
        theirs = save(content, file.metadata())
    assert (tmp_path / "ours").read_bytes() == theirs
    found, _ = read_tensors(tmp_path / "ours")
    assert all(same_bits(found[name], tensor) for name, tensor in content.items())


def test_rows_are_written_as_what_they_make_together(tmp_path):
    stacked = {"w": torch.arange(24.0).reshape(4, 3, 2), "n": torch.arange(4), "s": torch.tensor(1)}
    rows = {"w": list(stacked["w"].split(1)), "n": list(stacked["n"].split([1, 3]))}
    rows["w"][1] = stacked["w"].transpose(1, 2).contiguous().transpose(1, 2)[1:2]  # not in order
    write_tensors(tmp_path / "whole", stacked, {"step": 1})
    write_tensors(tmp_path / "rows", {**rows, "s": stacked["s"]}, {"step": 1})
    assert (tmp_path / "rows").read_bytes() == (tmp_path / "whole").read_bytes()


@ONE_FOLDER
@given(content=st.dictionaries(NAMES, tensors(), max_size=3), meta=META, data=st.data())
def test_what_stays_on_the_disk_is_checked_and_read_as_the_rest(tmp_path, content, meta, data):
    path = tmp_path / "left.safetensors"
    write_tensors(path, content, meta)
    found, described = read_described(path)
    assert described == meta
    assert set(found) == set(content)
    assert all(same_bits(found[name], content[name]) for name in content)
    raw = bytearray(path.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    with pytest.raises(StoreError, match=r"left\.safetensors"):
        read_described(path)


def test_plain_safetensors_reads_it(tmp_path):
    path = tmp_path / "plain.safetensors"
    content = {"a b": torch.arange(6.0).reshape(2, 3), "größe": torch.tensor([1, 2])}
    write_tensors(path, content, {"step": 1})
    found = load_file(path)
    assert all(torch.equal(found[name], content[name]) for name in content)


def test_equal_content_gives_equal_bytes(tmp_path):
    content = {"b": torch.ones(2), "a": torch.zeros(3, dtype=torch.int64)}
    write_tensors(tmp_path / "one", content, {"x": 1, "y": 2})
    write_tensors(tmp_path / "two", dict(reversed(content.items())), {"y": 2, "x": 1})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_view_is_written_as_what_it_shows(tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    write_tensors(tmp_path / "view", {"t": whole.T, "row": whole[1]}, {})
    found, _ = read_tensors(tmp_path / "view")
    assert torch.equal(found["t"], whole.T)
    assert torch.equal(found["row"], whole[1])


def test_what_is_read_shares_no_memory_with_the_file(tmp_path):
    path = tmp_path / "own"
    write_tensors(path, {"w": torch.ones(4)}, {})
    found, _ = read_tensors(path)
    found["w"].zero_()
    assert torch.equal(read_tensors(path)[0]["w"], torch.ones(4))


def test_a_full_disk_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "kept.json"
    write_bytes(path, b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"kept\.json cannot be written \(No space left"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["kept.json"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(StoreError, match="nowhere"):
        write_tensors(tmp_path / "nowhere" / "x.safetensors", {"w": torch.ones(1)}, {})
