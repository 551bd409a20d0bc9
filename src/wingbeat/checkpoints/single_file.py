"""Single safetensors files, their header read with suspicion.

Format: 8 bytes, the length of the header; the header, a JSON object from name to type, shape
and place; the bytes of the tensors without gap or overlap.
Source: https://huggingface.co/docs/safetensors (format), checked here in full.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from wingbeat.checkpoints.source import FLOATS, Entry, Kind, read_bytes
from wingbeat.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

LONGEST_HEADER = 100_000_000
"""Bytes of a header, as in the safetensors library."""
_WINGBEAT = "wingbeat"  # where a wingbeat snapshot keeps its digest
_PIECE = 1 << 20

# Name of a type in the header → name in torch, and its size in bits.
_TYPES = {
    "F64": ("float64", 64),
    "F32": ("float32", 32),
    "F16": ("float16", 16),
    "BF16": ("bfloat16", 16),
    "F8_E4M3": ("float8_e4m3fn", 8),
    "F8_E5M2": ("float8_e5m2", 8),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 8),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", 8),
    "F8_E8M0": ("F8_E8M0", 8),
    "F6_E2M3": ("F6_E2M3", 6),
    "F6_E3M2": ("F6_E3M2", 6),
    "F4": ("F4", 4),
    "I64": ("int64", 64),
    "I32": ("int32", 32),
    "I16": ("int16", 16),
    "I8": ("int8", 8),
    "U64": ("uint64", 64),
    "U32": ("uint32", 32),
    "U16": ("uint16", 16),
    "U8": ("uint8", 8),
    "BOOL": ("bool", 8),
    "C64": ("complex64", 64),
}


@dataclass(frozen=True)
class SingleFile:
    """An opened safetensors file; a `Source`."""

    path: Path
    entries: Mapping[str, Entry]
    tied: Mapping[str, str]
    metadata: Mapping[str, str]
    format: str = "safetensors"
    notes: tuple[str, ...] = ()

    def check(self, tick: Callable[[int], None]) -> bool:
        """Compare a wingbeat snapshot with its digest; other safetensors files have none."""
        written, _, text = self.metadata.get(_WINGBEAT, "").partition(" ")
        if not text:
            return False
        total = hashlib.sha256(text.encode())
        piece = memoryview(bytearray(_PIECE))
        for name in sorted(self.entries):
            entry = self.entries[name]
            total.update(f"|{name}|torch.{entry.dtype}|{entry.shape}|".encode())
            size = entry.numbers * getattr(torch, entry.dtype).itemsize
            for start in range(0, size, _PIECE):
                part = piece[: min(_PIECE, size - start)]
                read_bytes(entry.path, entry.offset + start, part)
                total.update(part)
                tick(len(part))
        if total.hexdigest() != written:
            msg = (
                f"{self.path} was altered after it was written (its digest does not fit): "
                "restore it from a copy"
            )
            raise StoreError(msg)
        return True


def read_safetensors(path: Path) -> SingleFile:
    """Open a safetensors file: its header is read and checked, its tensors are not touched.

    Raises:
        StoreError: the file is cut short, damaged or made to mislead; the message says where.
    """
    size = path.stat().st_size
    if size < 8:
        raise _wrong(path, f"it has {size} bytes and no room for a header")
    head = bytearray(8)
    read_bytes(path, 0, memoryview(head))
    length = int.from_bytes(head, "little")
    if length > LONGEST_HEADER:
        raise _wrong(path, f"its header claims {length:,} bytes; {LONGEST_HEADER:,} are allowed")
    if 8 + length > size:
        raise _wrong(path, f"its header claims {length:,} bytes and the file has {size:,}")
    raw = bytearray(length)
    read_bytes(path, 8, memoryview(raw))
    metadata, described = _parsed(path, bytes(raw))
    entries = [_entry(path, name, facts, 8 + length) for name, facts in described.items()]
    _tile(path, entries, 8 + length, size)
    stored = {
        e.name: e for e in sorted((e for e, _ in entries), key=lambda e: natural_order(e.name))
    }
    tied = {name: kept for name, kept in metadata.items() if name not in stored and kept in stored}
    return SingleFile(path, stored, tied, metadata)


def natural_order(name: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts numbers inside names by value.

    >>> sorted(["layers.10.w", "layers.2.w"], key=natural_order)
    ['layers.2.w', 'layers.10.w']
    """
    parts = re.findall(r"[0-9]{1,18}|[^0-9]+|[0-9]+", name)
    return [(0, int(p), "") if p.isdecimal() and len(p) < 19 else (1, 0, p) for p in parts]


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object and refuse a key that occurs twice.

    Raises:
        ValueError: one does.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        msg = f"the name {twice!r} occurs twice"
        raise ValueError(msg)
    return found


def _parsed(path: Path, raw: bytes) -> tuple[dict[str, str], dict[str, Any]]:
    try:
        if not raw.startswith(b"{"):
            msg = "it does not begin with {"
            raise ValueError(msg)
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise _wrong(path, f"its header is no JSON object: {error}") from error
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise _wrong(path, "its metadata is no object")
    words = {k: v for k, v in metadata.items() if isinstance(v, str)}
    return words, header


def _entry(path: Path, name: str, facts: Any, begin: int) -> tuple[Entry, int]:
    """Return a tensor's entry and the place after its last byte."""
    if not isinstance(facts, dict):
        raise _wrong(path, f"tensor {name!r} is not described by an object")
    kind, shape, place = (facts.get(k) for k in ("dtype", "shape", "data_offsets"))
    if not isinstance(kind, str) or kind not in _TYPES:
        raise _wrong(path, f"tensor {name!r} has the unknown type {kind!r}")
    shape, place = _counts(shape), _counts(place)
    if shape is None or place is None or len(place) != 2:
        raise _wrong(path, f"tensor {name!r} has no sound shape or place: {str(facts)[:200]}")
    dtype, bits = _TYPES[kind]
    wanted, odd = divmod(math.prod(shape) * bits, 8)
    if odd or place[1] - place[0] != wanted:
        raise _wrong(
            path,
            f"tensor {name!r} of shape {shape} and type {kind} needs {wanted} bytes and has "
            f"{place[1] - place[0]}",
        )
    entry = Entry(name, dtype, tuple(shape), path, begin + place[0], _kind(dtype))
    return entry, begin + place[1]


def _counts(value: Any) -> list[int] | None:
    """Return a list of counts; None if the value is anything else."""
    if not isinstance(value, list) or len(value) > 64:
        return None
    return value if all(type(n) is int and 0 <= n < 2**63 for n in value) else None


def _kind(dtype: str) -> Kind:
    if dtype in FLOATS:
        return "float"
    if dtype.startswith("complex"):
        return "complex"
    return "integer" if dtype == "bool" or "int" in dtype else "quantised"


def _tile(path: Path, entries: list[tuple[Entry, int]], begin: int, end: int) -> None:
    """Refuse tensors that overlap, leave a gap or reach beyond the file."""
    place = begin
    for entry, after in sorted(entries, key=lambda pair: (pair[0].offset, pair[1])):
        if entry.offset != place:
            how = "overlaps the tensor before it" if entry.offset < place else "leaves a gap"
            raise _wrong(path, f"tensor {entry.name!r} {how}")
        place = after
    if place != end:
        how = "was cut short" if place > end else "has bytes that belong to no tensor"
        raise _wrong(path, f"it {how}: {place:,} bytes are described, {end:,} are there")


def _wrong(path: Path, what: str) -> StoreError:
    return StoreError(f"{path} is no sound safetensors file: {what}. Copy or download it again")
