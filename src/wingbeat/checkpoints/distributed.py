"""Folders of ``torch.distributed.checkpoint``, as FSDP and its trainers write them.

``.metadata`` tells every tensor's chunks and where each lies: a small archive of ``torch.save``
inside one of the ``.distcp`` files. It is a pickle, and torch's own reader would run whatever it
names; here it is read with torch's own classes of metadata and nothing else. Chunks that lie one
below the other, as FSDP cuts them, are read piece by piece.
Source: https://docs.pytorch.org/docs/stable/distributed.checkpoint.html
"""

from __future__ import annotations

import importlib
import math
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from wingbeat.checkpoints.archive import ArchiveRecord, FilePart, check_records, read_records
from wingbeat.checkpoints.single_file import natural_order
from wingbeat.checkpoints.source import READ, Entry, Piece, read_whole
from wingbeat.checkpoints.torch_file import LARGEST_HELD, kind_of, turned
from wingbeat.checkpoints.weights import choose
from wingbeat.errors import RequestError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

METADATA = ".metadata"
"""Name of the file that describes the folder."""
LARGEST_METADATA = 256 * 2**20
"""Bytes of that file."""
_MODULE = "torch.distributed.checkpoint"
# All that a description is made of; what is called only builds these records.
_ALLOWED = {
    *((f"{_MODULE}.metadata", name) for name in (
        "Metadata", "MetadataIndex", "TensorStorageMetadata", "BytesStorageMetadata",
        "ChunkStorageMetadata", "TensorProperties", "StorageMeta", "_MEM_FORMAT_ENCODING",
    )),
    (f"{_MODULE}.filesystem", "_StorageInfo"),
    ("torch", "Size"),
    ("torch.serialization", "_get_layout"),
    ("pathlib", "Path"), ("pathlib", "PosixPath"), ("pathlib", "PurePosixPath"),
    ("pathlib._local", "PosixPath"),
}  # fmt: skip


@dataclass(frozen=True)
class Distributed:
    """An opened folder; a `Source`."""

    path: Path
    entries: Mapping[str, Entry]
    tied: Mapping[str, str]
    records: tuple[tuple[Path, tuple[ArchiveRecord, ...]], ...]
    notes: tuple[str, ...] = ()
    format: str = "torch distributed checkpoint"

    def check(self, tick: Callable[[int], None]) -> bool:
        """Compare every chunk that is read with its CRC-32."""
        found = [check_records(path, records, tick) for path, records in self.records]
        return any(found)


@dataclass(frozen=True)
class _Chunk:
    """A chunk of a tensor, and its numbers: a piece of a file, or held."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    piece: Piece
    record: ArchiveRecord
    held: Tensor | None


def read_distributed(folder: Path, *, key: str | None = None) -> Distributed:
    """Open a folder; reads its description and the heads of its chunks, no numbers.

    Args:
        folder: that holds ``.metadata``.
        key: where the model is, dotted, if the folder holds more than a state dict.

    Raises:
        StoreError: the description names anything but tensors and places, or does not fit.
        RequestError: it holds no tensors, or several groups of them and no ``key`` was given.
    """
    described = _description(folder / METADATA)
    content, names = _nested(described)
    weights = choose(folder, content, key)
    places = {(i.fqn, tuple(i.offset or ())): info for i, info in described.storage_data.items()}
    entries: dict[str, Entry] = {}
    read: list[tuple[Path, tuple[ArchiveRecord, ...]]] = []
    for name in sorted(weights.tensors, key=natural_order):
        flat = names[id(weights.tensors[name])]
        entries[name], chunks = _entry(folder, name, flat, described, places)
        read += [(chunk.piece.path, (chunk.record,)) for chunk in chunks]
    return Distributed(folder, entries, {}, tuple(read), weights.notes)


class _Describer(pickle.Unpickler):
    """Reads a description: classes of metadata and types, nothing else is found."""

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the classes that are allowed.

        Raises:
            StoreError: it is another.
        """
        kind = getattr(torch, name, None) if module == "torch" else None
        if isinstance(kind, torch.dtype):
            return kind
        if (module, name) not in _ALLOWED:
            raise StoreError(f"asks to run code on opening ({module}.{name})")
        if module.startswith("pathlib"):
            return _name_of
        return getattr(importlib.import_module(module), name)


def _name_of(*parts: str) -> str:
    """Stand for the path under which the folder was written, which need not be one here."""
    return "/".join(map(str, parts))


def _description(path: Path) -> Any:
    try:
        size = path.stat().st_size
        if size > LARGEST_METADATA:
            raise StoreError(f"has {size:,} bytes; {LARGEST_METADATA:,} are allowed")
        with path.open("rb") as file:
            found = _Describer(file).load()
    except StoreError as error:
        msg = f"{path} {error}: refused, and nothing of it was run"
        raise StoreError(msg) from None
    except Exception as error:
        # Whatever a file made by hand lets the reader raise, the file is what is wrong.
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        msg = f"{path} is no sound description of a distributed checkpoint: {first}"
        raise StoreError(msg) from error
    kind = importlib.import_module(f"{_MODULE}.metadata").Metadata
    if not isinstance(found, kind) or not isinstance(getattr(found, "storage_data", None), dict):
        msg = f"{path} describes no checkpoint on a file system: convert it with torch"
        raise StoreError(msg)
    return found


def _nested(described: Any) -> tuple[dict[str, Any], dict[int, str]]:
    """Return what was saved as nested dicts of tensors without numbers, and their flat names."""
    content: dict[str, Any] = {}
    names: dict[int, str] = {}
    paths = getattr(described, "planner_data", None) or {}
    for flat, facts in described.state_dict_metadata.items():
        path = [str(part) for part in paths.get(flat, (flat,))]
        place = content
        for part in path[:-1]:
            place = place.setdefault(part, {})
        value = None
        if hasattr(facts, "properties"):
            value = torch.empty(facts.size, dtype=facts.properties.dtype, device="meta")
            names[id(value)] = flat
        place[path[-1]] = value
    return content, names


def _entry(
    folder: Path, name: str, flat: str, described: Any, places: Mapping[Any, Any]
) -> tuple[Entry, list[_Chunk]]:
    facts = described.state_dict_metadata[flat]
    shape, dtype = tuple(facts.size), facts.properties.dtype
    kind = kind_of(torch.empty(0, dtype=dtype))
    what = str(dtype).removeprefix("torch.")
    if kind not in READ:
        return Entry(name, what, shape, folder, 0, kind), []
    chunks = [_chunk(folder, flat, c, places, dtype) for c in facts.chunks if 0 not in c.sizes]
    if sum(math.prod(chunk.sizes) for chunk in chunks) != math.prod(shape):
        raise _wrong(folder, f"the chunks of {flat!r} do not make up its shape {shape}")
    chunks.sort(key=lambda chunk: chunk.offsets)
    if not chunks:
        return Entry(name, what, shape, folder, 0, kind, torch.empty(shape, dtype=dtype)), []
    first = chunks[0].piece
    if _stacked(chunks, shape):
        pieces = tuple(chunk.piece for chunk in chunks)
        return Entry(name, what, shape, first.path, first.offset, kind, None, pieces), chunks
    held = _assembled(folder, flat, chunks, shape, dtype)
    return Entry(name, what, shape, first.path, first.offset, kind, held), chunks


def _chunk(
    folder: Path, flat: str, told: Any, places: Mapping[Any, Any], dtype: torch.dtype
) -> _Chunk:
    """Find the numbers of a chunk inside the archive that holds it."""
    offsets, sizes = tuple(told.offsets), tuple(told.sizes)
    info = places.get((flat, offsets), places.get((flat, ())))
    if info is None:
        raise _wrong(folder, f"it does not tell where the chunk of {flat!r} at {offsets} is")
    if getattr(info, "transform_descriptors", None):
        msg = f"{folder} was written through {info.transform_descriptors}: save it without"
        raise RequestError(msg)
    path = _file(folder, info.relative_path)
    records = read_records(path, info.offset, info.length)
    if turned(path, records.values()):
        msg = f"{folder} was written on a machine of the other byte order: load and save it there"
        raise RequestError(msg)
    with path.open("rb") as file:
        window: Any = FilePart(file, info.offset, info.length)
        tensor = torch.load(window, weights_only=True, map_location="meta")
        numbers = [r for n, r in records.items() if n.endswith("/data/0")]
        if not isinstance(tensor, Tensor) or tensor.dtype != dtype or len(numbers) != 1:
            raise _wrong(folder, f"the chunk of {flat!r} in {path.name} is no tensor of {dtype}")
        if tuple(tensor.shape) != sizes:
            raise _wrong(folder, f"the chunk of {flat!r} has {tuple(tensor.shape)}, not {sizes}")
        record = numbers[0]
        plain = tensor.is_contiguous() and tensor.storage_offset() == 0
        if tensor.numel() * dtype.itemsize > record.size:
            raise _wrong(folder, f"the chunk of {flat!r} reaches beyond its {record.size:,} bytes")
        held = None
        if not plain:
            _refuse_large(folder, flat, record.size)
            window.seek(0)
            held = torch.load(window, weights_only=True, map_location="cpu").contiguous()
    return _Chunk(offsets, sizes, Piece(path, record.offset, tensor.numel()), record, held)


def _file(folder: Path, name: object) -> Path:
    plain = isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\:\0")
    if not plain:
        raise _wrong(folder, f"it names the file {name!r}: only files inside the folder are read")
    path = folder / str(name)
    if not path.is_file():
        raise _wrong(folder, f"it names the file {name!r}, which is not there")
    return path


def _stacked(chunks: list[_Chunk], shape: tuple[int, ...]) -> bool:
    """Tell whether the chunks follow each other along the first axis and are whole otherwise."""
    place = 0
    for chunk in chunks:
        if chunk.held is not None or chunk.sizes[1:] != shape[1:]:
            return False
        if shape and (chunk.offsets[0] != place or any(chunk.offsets[1:])):
            return False
        place += chunk.sizes[0] if shape else 0
    return True


def _assembled(
    folder: Path, flat: str, chunks: list[_Chunk], shape: tuple[int, ...], dtype: torch.dtype
) -> Tensor:
    """Put chunks that are cut along other axes together in memory."""
    _refuse_large(folder, flat, math.prod(shape) * dtype.itemsize)
    whole, filled = torch.empty(shape, dtype=dtype), torch.zeros(shape, dtype=torch.bool)
    for chunk in chunks:
        where = tuple(slice(o, o + n) for o, n in zip(chunk.offsets, chunk.sizes, strict=True))
        whole[where] = _numbers(chunk, dtype)
        filled[where] = True
    if not bool(filled.all()):
        raise _wrong(folder, f"the chunks of {flat!r} overlap")
    return whole


def _numbers(chunk: _Chunk, dtype: torch.dtype) -> Tensor:
    if chunk.held is not None:
        return chunk.held
    name = str(dtype).removeprefix("torch.")
    return read_whole(Entry("", name, chunk.sizes, chunk.piece.path, chunk.piece.offset))


def _refuse_large(folder: Path, flat: str, size: int) -> None:
    if size > LARGEST_HELD:
        msg = (
            f"{folder}: {flat!r} is cut along another axis than the first and has {size:,} bytes; "
            f"{LARGEST_HELD:,} are put together in memory. Convert the folder with "
            "python -m torch.distributed.checkpoint.format_utils dcp_to_torch"
        )
        raise RequestError(msg)


def _wrong(folder: Path, what: str) -> StoreError:
    return StoreError(f"{folder} is no sound distributed checkpoint: {what}. Copy it again")
