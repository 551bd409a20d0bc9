"""PyTorch ``.pt`` files, through ``weights_only=True`` alone: no code of a file ever runs.

The description of the tensors is loaded without their numbers (``map_location="meta"``), which
are then read from the file piece by piece. What torch cannot describe that way (quantised
tensors, files of torch before 1.6) is mapped or loaded as a whole.
"""

from __future__ import annotations

import math
import re
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from wingbeat.checkpoints.archive import ArchiveRecord, check_records, read_records
from wingbeat.checkpoints.names import few
from wingbeat.checkpoints.plain_data import stands
from wingbeat.checkpoints.source import FLOATS, READ, Entry, Kind, bytes_of, read_bytes
from wingbeat.checkpoints.weights import CheckpointWeights, choose, flattened
from wingbeat.errors import RequestError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

LARGEST_HELD = 256 * 2**20
"""Bytes of one file that may be held in memory because they cannot be read piece by piece."""


@dataclass(frozen=True)
class TorchFile:
    """An opened ``.pt`` file; a `Source`."""

    path: Path
    entries: Mapping[str, Entry]
    tied: Mapping[str, str]
    records: tuple[ArchiveRecord, ...]
    notes: tuple[str, ...] = ()
    format: str = "PyTorch"

    def check(self, tick: Callable[[int], None]) -> bool:
        """Compare every entry of the archive with its CRC-32."""
        return check_records(self.path, self.records, tick)


def read_torch(path: Path, *, archive: bool, key: str | None = None) -> TorchFile:
    """Open a ``.pt`` file.

    Args:
        path: the file.
        archive: whether it is a zip archive; torch before 1.6 wrote none.
        key: where the tensors are, dotted, if the file holds more than a state dict.

    Raises:
        StoreError: it asks to run code, is damaged or made to mislead.
        RequestError: it holds no tensors, or several groups of them and no ``key`` was given.
    """
    records = read_records(path) if archive else {}
    if not archive:
        _refuse_large(path, "is in the format of torch before 1.6")
    if turned(path, records.values()):
        # torch turns the bytes of every number while it loads them.
        _refuse_large(path, "was written on a machine of the other byte order")
        archive = False
    content = _load(path, map_location="meta") if archive else _load(path, map_location="cpu")
    places = {r.offset: r for r in records.values()}
    if archive and (content is None or not _placed(content, places)):
        content, places = _load(path, map_location="cpu", mmap=True), {}
        _refuse_meta(path, content)
    return _opened(path, choose(path, content, key), places, tuple(records.values()))


def _refuse_large(path: Path, what: str) -> None:
    """Refuse a file that must be loaded as a whole and is too large for that."""
    if path.stat().st_size > LARGEST_HELD:
        msg = (
            f"{path} {what}, must be loaded as a whole, and has more than {LARGEST_HELD:,} bytes: "
            "load and save it again with a newer torch on this machine"
        )
        raise RequestError(msg)


def turned(path: Path, records: Iterable[ArchiveRecord]) -> bool:
    """Tell whether an archive says that its numbers begin with the other end.

    torch turns bytes that it has not got, and dies, where it is asked for a description alone.
    """
    other = b"big" if sys.byteorder == "little" else b"little"
    for record in records:
        if record.name.endswith("/byteorder") and record.size == len(other):
            word = bytearray(record.size)
            read_bytes(path, record.offset, memoryview(word))
            return bytes(word) == other
    return False


def _refuse_meta(path: Path, content: Any) -> None:
    """Refuse tensors that were saved without their numbers."""
    bare = [name for name, t in flattened(content).items() if t.device.type == "meta"]
    if bare:
        msg = (
            f"{path} was saved with tensors on the meta device, which have a shape and no numbers "
            f"({few(bare)}): save the model after its weights were loaded"
        )
        raise RequestError(msg)


def _opened(
    path: Path,
    weights: CheckpointWeights,
    places: dict[int, ArchiveRecord],
    records: tuple[ArchiveRecord, ...],
) -> TorchFile:
    entries: dict[str, Entry] = {}
    tied: dict[str, str] = {}
    first: dict[Any, str] = {}
    held = 0
    for name, tensor in weights.tensors.items():
        same = _identity(tensor)
        if same in first:
            tied[name] = first[same]
            continue
        if same is not None:
            first[same] = name
        entry = _entry(path, name, tensor, places)
        held += _bytes(entry.held) if entry.held is not None and places else 0
        if held > LARGEST_HELD:
            msg = (
                f"{path} holds more than {LARGEST_HELD:,} bytes of tensors that are not "
                f"contiguous, as {name!r}: save it again after calling .contiguous() on them"
            )
            raise RequestError(msg)
        entries[name] = entry
    return TorchFile(path, entries, tied, records, weights.notes)


def load_plain(path: Path) -> Any:
    """Return all that a ``.pt`` file holds, without running code.

    Raises:
        RequestError: there is no such file.
        StoreError: it is damaged or asks to run code.
    """
    if not path.is_file():
        raise RequestError(f"{path} is no file: name the .pt file itself")
    return _load(path, map_location="cpu")


def load_outline(path: Path) -> Any:
    """Return all that an archive of ``torch.save`` holds, its tensors without their numbers.

    Raises:
        StoreError: it is damaged or asks to run code.
    """
    whole = turned(path, read_records(path).values())
    return _load(path, map_location="cpu" if whole else "meta")


def _load(path: Path, **options: Any) -> Any:
    """Load without running code; None where the meta device cannot represent a tensor."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with torch.serialization.safe_globals(stands()):
                return torch.load(path, weights_only=True, **options)
    except NotImplementedError:
        if options.get("map_location") == "meta":
            return None
        raise
    except Exception as error:
        # Whatever a file made by hand lets torch raise, the file is what is wrong.
        raise StoreError(_why(path, error)) from error


def _why(path: Path, error: Exception) -> str:
    """Return why torch refused a file; the class is known by name, pickle is not imported."""
    if type(error).__name__ == "UnpicklingError":
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"asks to run code on opening ({asked[1]})" if asked else "is no plain state dict"
        return (
            f"{path} {what}: refused, and nothing of it was run. Save model.state_dict(), or "
            "better a safetensors file, where you trust it"
        )
    first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"{path} is no sound PyTorch file: {first_line}. Copy or download it again"


def _placed(content: Any, places: dict[int, ArchiveRecord]) -> bool:
    """Tell whether every tensor's place is known and is that of an entry of the archive."""
    tensors = flattened(content).values()
    return all(t.layout is torch.strided and _place(t) in places for t in tensors)


def _identity(tensor: Tensor) -> Any:
    """Return what two names of the same stored tensor have in common; None if there is none."""
    if tensor.layout is not torch.strided or tensor.numel() == 0:
        return None
    where = _place(tensor) if tensor.device.type == "meta" else tensor.untyped_storage().data_ptr()
    return where, tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype


def _entry(path: Path, name: str, tensor: Tensor, places: dict[int, ArchiveRecord]) -> Entry:
    dtype, shape = str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)
    kind = kind_of(tensor)
    if kind not in READ:
        return Entry(name, dtype, shape, path, 0, kind)
    if tensor.device.type != "meta":
        return Entry(name, dtype, shape, path, 0, kind, _dense(path, name, tensor))
    record = places[_place(tensor)]
    _require_inside(path, name, tensor, record)
    offset = record.offset + int(tensor.storage_offset()) * tensor.element_size()
    if tensor.is_contiguous():
        return Entry(name, dtype, shape, path, offset, kind)
    raw = torch.empty(record.size // tensor.element_size(), dtype=tensor.dtype)
    if _bytes(tensor) > LARGEST_HELD or _bytes(raw) > LARGEST_HELD:
        msg = f"{path}: {name!r} is not contiguous and too large for that; save it contiguous"
        raise RequestError(msg)
    read_bytes(path, record.offset, bytes_of(raw))
    view = raw.as_strided(shape, tensor.stride(), tensor.storage_offset())
    return Entry(name, dtype, shape, path, offset, kind, view.contiguous())


def _dense(path: Path, name: str, tensor: Tensor) -> Tensor:
    sparse = tensor.layout is not torch.strided
    if not sparse and tensor.is_contiguous():
        return tensor.detach()
    if _bytes(tensor) > LARGEST_HELD:
        what = "sparse" if sparse else "not contiguous"
        msg = f"{path}: {name!r} is {what} and too large for that; save it dense and contiguous"
        raise RequestError(msg)
    return tensor.detach().to_dense() if sparse else tensor.detach().contiguous()


def _require_inside(path: Path, name: str, tensor: Tensor, record: ArchiveRecord) -> None:
    """Refuse a tensor that claims more numbers than its entry of the archive holds."""
    last = tensor.storage_offset() + sum(
        (n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True)
    )
    if tensor.numel() and (last + 1) * tensor.element_size() > record.size:
        msg = (
            f"{path} is no sound PyTorch file: {name!r} of shape {tuple(tensor.shape)} reaches "
            f"beyond its entry of {record.size:,} bytes. Copy or download it again"
        )
        raise StoreError(msg)


def _place(tensor: Tensor) -> int:
    """Return where the numbers of a tensor without numbers begin in its file; −1 if unknown."""
    return getattr(tensor.untyped_storage(), "_checkpoint_offset", None) or -1


def _bytes(tensor: Tensor) -> int:
    return math.prod(tensor.shape) * tensor.element_size()


def kind_of(tensor: Tensor) -> Kind:
    """Return what kind of numbers a tensor holds."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_quantized:
        return "quantised"
    if tensor.is_complex():
        return "complex"
    return "float" if dtype in FLOATS else "integer" if "float" not in dtype else "quantised"
