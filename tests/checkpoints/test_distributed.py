"""Folders of torch.distributed.checkpoint: written by torch itself, read without its pickles."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

from wingbeat.checkpoints import compare, open_checkpoint
from wingbeat.checkpoints.source import read_whole
from wingbeat.errors import RequestError, StoreError

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")


def net(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))


def trained(seed):
    model = net(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    (1e3 * model(torch.randn(2, 3, 4, 4)).square().sum()).backward()
    optimizer.step()
    return model, optimizer


def distance(first, second):
    return sum(float((first[n].double() - second[n].double()).square().sum()) for n in first) ** 0.5


LAYOUTS = {
    "state dict": lambda m, o: m.state_dict(),
    "model and optimizer": lambda m, o: {"model": m.state_dict(), "optim": o.state_dict()},
    "the tutorial's app": lambda m, o: {
        "app": {"model": m.state_dict(), "optim": o.state_dict()}, "step": 3},
    "Lightning": lambda m, o: {
        "state_dict": m.state_dict(), "optimizer_0": o.state_dict(), "epoch": 2},
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_weights_of_a_folder_are_those_that_torch_wrote(tmp_path, name):
    states = []
    for seed in (1, 2):
        model, optimizer = trained(seed)
        dcp.save(LAYOUTS[name](model, optimizer), checkpoint_id=tmp_path / str(seed))
        states.append(model.state_dict())
    found = compare([tmp_path / "1", tmp_path / "2"])
    np.testing.assert_allclose(found.l2[1], distance(*states), rtol=1e-12)
    assert set(found.moments.names) == set(states[0])
    assert found.checked == (True, True)
    assert set(found.formats) == {"torch distributed checkpoint"}


def test_a_folder_and_a_file_of_the_same_weights_are_no_distance_apart(tmp_path):
    model, optimizer = trained(1)
    dcp.save({"model": model.state_dict(), "optim": optimizer.state_dict()},
             checkpoint_id=tmp_path / "dcp")  # fmt: skip
    torch.save(model.state_dict(), tmp_path / "a.pt")
    found = compare([tmp_path / "dcp", tmp_path / "a.pt"])
    assert found.l2[1] == 0.0
    with pytest.raises(RequestError, match="no 'nothing'"):
        compare([tmp_path / "dcp", tmp_path / "a.pt"], key="nothing")


# How ranks cut a matrix (rows, columns): FSDP by rows, unevenly; tensor parallelism by columns.
CUTS = {
    "whole": [((0, 0), (5, 6))],
    "rows": [((0, 0), (2, 6)), ((2, 0), (2, 6)), ((4, 0), (1, 6))],
    "columns": [((0, 0), (5, 4)), ((0, 4), (5, 2))],
    "both": [((0, 0), (3, 4)), ((0, 4), (3, 2)), ((3, 0), (2, 4)), ((3, 4), (2, 2))],
}


def written(folder: Path, tensor, cuts, *, strided: bool = False) -> None:
    """Write a matrix as ranks do, each chunk into a file of its own; torch reads it back."""
    folder.mkdir()
    chunks, places = [], {}
    for rank, (offsets, sizes) in enumerate(cuts):
        rows, columns = (slice(o, o + n) for o, n in zip(offsets, sizes, strict=True))
        part = tensor[rows, columns].clone()
        part = part.t().contiguous().t() if strided else part
        with (folder / f"__{rank}_0.distcp").open("wb") as file:
            file.write(b"before")
            torch.save(part, file)
            length = file.tell() - 6
        chunks.append(ChunkStorageMetadata(torch.Size(offsets), torch.Size(sizes)))
        info = dcp.filesystem._StorageInfo(f"__{rank}_0.distcp", 6, length)
        places[MetadataIndex("w", torch.Size(offsets), rank)] = info
    facts = TensorStorageMetadata(TensorProperties(tensor.dtype), tensor.size(), chunks)
    found = Metadata({"w": facts}, planner_data={"w": ("w",)}, storage_data=places)
    (folder / ".metadata").write_bytes(pickle.dumps(found))


@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("name", CUTS)
def test_chunks_of_all_ranks_are_one_tensor(tmp_path, name, strided):
    whole = torch.randn(5, 6, generator=torch.Generator().manual_seed(1)).bfloat16()
    written(tmp_path / "a", whole, CUTS[name], strided=strided)
    theirs = {"w": torch.empty(5, 6, dtype=torch.bfloat16)}
    dcp.load(theirs, storage_reader=FileSystemReader(tmp_path / "a"), no_dist=True)
    torch.testing.assert_close(theirs["w"], whole, rtol=0, atol=0)
    entry = open_checkpoint(tmp_path / "a").entries["w"]
    torch.testing.assert_close(read_whole(entry), whole, rtol=0, atol=0)
    assert (entry.held is None) == (name in ("whole", "rows") and not strided)


def test_pieces_are_read_across_their_borders(tmp_path):
    """A thread begins inside a piece and ends in another."""
    whole = torch.randn(70_000, 3, generator=torch.Generator().manual_seed(1))
    cuts = [((o, 0), (min(n, 70_000 - o), 3)) for n in (9_999,) for o in range(0, 70_000, n)]
    written(tmp_path / "a", whole, cuts)
    torch.save({"w": whole + 1.0}, tmp_path / "b.pt")
    found = compare([tmp_path / "a", tmp_path / "b.pt"])
    np.testing.assert_allclose(found.l2[1], 210_000**0.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("cuts", "words"),
    [
        ([((0, 0), (2, 6))], "do not make up its shape"),
        ([((0, 0), (5, 3)), ((0, 2), (5, 3))], "overlap"),
    ],
)
def test_chunks_that_are_not_the_tensor_are_refused(tmp_path, cuts, words):
    written(tmp_path / "a", torch.ones(5, 6), cuts)
    with pytest.raises(StoreError, match=words):
        open_checkpoint(tmp_path / "a")


class _Bad:
    """What runs code where it is opened."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return (Path.touch, (self.folder / "ran",))


def test_a_description_that_asks_to_run_code_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".metadata").write_bytes(pickle.dumps(_Bad(tmp_path)))
    with pytest.raises(StoreError, match=r"asks to run code.*nothing of it was run"):
        open_checkpoint(tmp_path / "a")
    assert not (tmp_path / "ran").exists()


def damaged(metadata: Metadata, what: str) -> None:
    (info,) = metadata.storage_data.values()
    if what == "outside":
        info.relative_path = "../other.distcp"
    elif what == "gone":
        info.relative_path = "gone.distcp"
    elif what == "cut":
        info.length -= 40


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("outside", "only files inside the folder"),
        ("gone", "not there"),
        ("cut", "no sound PyTorch file"),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path, what, words):
    written(tmp_path / "a", torch.ones(5, 6), CUTS["whole"])
    path = tmp_path / "a" / ".metadata"
    found = pickle.loads(path.read_bytes())
    damaged(found, what)
    path.write_bytes(pickle.dumps(found))
    with pytest.raises(StoreError, match=words):
        open_checkpoint(tmp_path / "a")


def test_changed_numbers_of_a_chunk_are_noticed(tmp_path):
    for name in "ab":
        written(tmp_path / name, torch.ones(5, 6), CUTS["rows"])
    path = tmp_path / "b" / "__1_0.distcp"
    entry = open_checkpoint(tmp_path / "b").entries["w"]
    raw = bytearray(path.read_bytes())
    raw[entry.pieces[1].offset] ^= 1
    path.write_bytes(raw)
    with pytest.raises(StoreError, match="altered after it was written"):
        compare([tmp_path / "a", tmp_path / "b"])
