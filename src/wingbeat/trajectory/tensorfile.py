"""Tensor files that are whole or absent, and that notice when they were altered.

The format is safetensors, readable without wingbeat. The header's metadata holds what the
tensors mean and a digest over names, shapes, types, bytes and that metadata. A file is
written beside its place, flushed to the disk and renamed. Nothing is collected before it is
written, and what is read lies in memory once.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from wingbeat.errors import StoreError
from wingbeat.files import require_regular, strict_json, unreadable, write_bytes

HEADER = "wingbeat"
"""The one key of the file's metadata: with more, their order on disk would vary."""
_TYPES: Final = {
    torch.uint64: "U64",
    torch.int64: "I64",
    torch.float64: "F64",
    torch.complex64: "C64",
    torch.float32: "F32",
    torch.uint32: "U32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.uint16: "U16",
    torch.int16: "I16",
    torch.float8_e8m0fnu: "F8_E8M0",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""Types as safetensors names them, in the order in which it lays them out; then by name."""
_OF_NAME: Final = {name: dtype for dtype, name in _TYPES.items()}
_ALIGNED: Final = 8
"""Tensors begin at a multiple of so many bytes; the header is filled up with spaces."""
_BLOCK: Final = 1 << 22
"""Bytes that are read at once where a file is only looked through: more is no faster."""


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor | Sequence[Tensor]], meta: Mapping[str, Any]
) -> None:
    """Write tensors and their JSON-safe description as one file, all or nothing.

    Args:
        path: of the file.
        tensors: by name; a sequence is joined along its tensors' first axis.
        meta: the description.

    Raises:
        StoreError: the disk is full or the folder cannot be written; nothing was changed.
    """
    pieces = {n: [t] if isinstance(t, Tensor) else list(t) for n, t in tensors.items()}
    for name, (first, *_) in pieces.items():
        if first.dtype not in _TYPES:
            raise StoreError(f"{path}: {name!r} is {first.dtype}, which safetensors cannot hold")
    text = strict_json(meta, indent=None, sort_keys=True)
    total = hashlib.sha256(text.encode())
    for name in sorted(pieces):
        total.update(_described(name, pieces[name][0].dtype, _shape(pieces[name])))
        for piece in pieces[name]:
            total.update(_bytes(piece))
    write_bytes(path, _laid_out(pieces, f"{total.hexdigest()} {text}"))


def _laid_out(pieces: Mapping[str, Sequence[Tensor]], said: str) -> Iterator[Any]:
    """Yield a file of safetensors piece by piece."""
    kinds = {dtype: place for place, dtype in enumerate(_TYPES)}
    order = sorted(pieces, key=lambda n: (kinds[pieces[n][0].dtype], n.encode()))
    header: dict[str, Any] = {"__metadata__": {HEADER: said}}
    end = 0
    for name in order:
        begin, end = end, end + sum(t.numel() * t.element_size() for t in pieces[name])
        header[name] = {
            "dtype": _TYPES[pieces[name][0].dtype],
            "shape": _shape(pieces[name]),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNED)
    yield len(text).to_bytes(8, "little") + text
    for name in order:
        for piece in pieces[name]:
            yield _bytes(piece)


def _shape(pieces: Sequence[Tensor]) -> tuple[int, ...]:
    first = tuple(pieces[0].shape)
    return first if len(pieces) == 1 else (sum(len(piece) for piece in pieces), *first[1:])


def read_tensors(path: Path, *, check: bool = True) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file that ``write_tensors`` made: fresh tensors by name, and the description.

    Raises:
        StoreError: it is missing, cut short or altered; the message names the file.
    """
    with _opened(path) as content:
        # Not mapped: a tensor in mapped memory has an alignment of its own, which may choose
        # another kernel and hence other bits.
        tensors = {name: content.tensor(name) for name in content.places}
        fits = not check or (content.padded and content.digest == digest(tensors, content.text))
    return tensors, _meta(path, content, fits)


def read_described(path: Path, *, check: bool = True) -> tuple[OnDisk, dict[str, Any]]:
    """Look a file through as ``read_tensors`` does, and leave its tensors where they are.

    Raises:
        StoreError: see ``read_tensors``.
    """
    with _opened(path) as content:
        fits = not check or (content.padded and content.digest == content.looked_through())
        names = tuple(content.places)
    return OnDisk(path, names), _meta(path, content, fits)


def _meta(path: Path, content: _Content, fits: bool) -> dict[str, Any]:
    if not (fits and content.text):
        msg = f"{path} was altered after it was written (its digest does not fit). {_advice(path)}"
        raise StoreError(msg)
    found: dict[str, Any] = json.loads(content.text)
    return found


class OnDisk(Mapping[str, Tensor]):
    """Tensors of a file by name, each read anew when it is asked for.

    Args:
        path: of the file.
        names: of the tensors.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.path, self.names = path, tuple(names)

    def of(self, names: Sequence[str]) -> OnDisk:
        """Return some of them, in this order."""
        missing = set(names) - set(self.names)
        if missing:
            raise KeyError(min(missing))
        return OnDisk(self.path, names)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.names:
            raise KeyError(name)
        with _opened(self.path) as content:
            return content.tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class _Content:
    """An open file: where its tensors lie, and what it says of them."""

    file: io.BufferedReader
    places: dict[str, tuple[torch.dtype, tuple[int, ...], int]]
    digest: str
    text: str
    padded: bool

    def tensor(self, name: str) -> Tensor:
        """Read one tensor."""
        dtype, shape, begin = self.places[name]
        found = torch.empty(shape, dtype=dtype)
        self.file.seek(begin)
        if found.numel() and self.file.readinto(_bytes(found)) < found.nbytes:
            raise OSError("it ends too early")
        return found

    def looked_through(self) -> str:
        """Return the digest of what is there."""
        total = hashlib.sha256(self.text.encode())
        for name in sorted(self.places):
            dtype, shape, begin = self.places[name]
            total.update(_described(name, dtype, shape))
            self.file.seek(begin)
            left = prod(shape) * dtype.itemsize
            while left:
                block = self.file.read(min(left, _BLOCK))
                if not block:
                    raise OSError("it ends too early")
                total.update(block)
                left -= len(block)
        return total.hexdigest()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[_Content]:
    """Open a file whose header safetensors has found in order."""
    try:
        with _checked(path) as file:
            size = int.from_bytes(file.read(8), "little")
            raw = file.read(size)
            header = json.loads(raw)
            said = (header.pop("__metadata__", None) or {}).get(HEADER, "")
            places = {
                name: (_OF_NAME[t["dtype"]], tuple(t["shape"]), 8 + size + t["data_offsets"][0])
                for name, t in header.items()
            }
            written, _, text = said.partition(" ")
            # Only spaces may follow the header: the one place that no reader looks at.
            yield _Content(file, places, written, text, raw.rstrip(b" ").endswith(b"}"))
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise _unreadable(path, error) from error


@contextlib.contextmanager
def _checked(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file, and let safetensors look at the header of the same one."""
    while True:
        with _regular(path).open("rb") as file:
            with safe_open(path, framework="pt"):
                same = os.path.samestat(os.fstat(file.fileno()), path.stat())
            if same:  # else another took its name meanwhile
                yield file
                return


def written_digest(path: Path) -> str:
    """Return the digest that a file says it has; reads the header only.

    Raises:
        StoreError: the file is missing or damaged; the message names it.
    """
    try:
        with safe_open(_regular(path), framework="pt") as file:
            return str((file.metadata() or {}).get(HEADER, "")).partition(" ")[0]
    except (SafetensorError, OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def read_one(path: Path, name: str) -> Tensor:
    """Read one tensor of a file whose digest was checked before.

    Raises:
        StoreError: the file is missing or damaged; the message names it.
    """
    try:
        with safe_open(_regular(path), framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
            return tensor
    except (SafetensorError, OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def digest(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """Return a SHA-256 over names, types, shapes, bytes and a text."""
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(_described(name, tensor.dtype, tuple(tensor.shape)))
        total.update(_bytes(tensor))
    return total.hexdigest()


def _described(name: str, dtype: torch.dtype, shape: tuple[int, ...]) -> bytes:
    return f"|{name}|{dtype}|{shape}|".encode()


def _bytes(tensor: Tensor) -> Any:
    """Return a tensor's numbers as they lie in memory; a copy only where they lie otherwise."""
    if not tensor.numel():
        return b""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    array: Any = flat.view(torch.uint8).numpy()
    return memoryview(array)


def _unreadable(path: Path, error: Exception) -> StoreError:
    # What safetensors raises does not always tell a forbidden file from a damaged one.
    try:
        with _regular(path).open("rb"):
            return unreadable(path, error, _advice(path))
    except OSError as reason:
        return unreadable(path, reason, _advice(path))


def _regular(path: Path) -> Path:
    require_regular(path)
    return path


def _advice(path: Path) -> str:
    return f"Restore {path.name} from a copy, or delete its run folder and compute it again."
