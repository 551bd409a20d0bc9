"""Change the numbers of tensors inside a checkpoint's file, and not one byte besides."""

from __future__ import annotations

import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import torch

from wingbeat.errors import RequestError, StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from wingbeat.checkpoints.source import Entry

_PIECE = 1 << 20
_LOCAL_CRC = 14
"""Place of the CRC-32 in the header before an entry of a zip archive (APPNOTE 4.3.7)."""
_CENTRAL_CRC = 16
"""Place of the CRC-32 in an entry of its directory (APPNOTE 4.3.12)."""
_CENTRAL = struct.Struct("<4s6H3I5H2I")


def overwrite(path: Path, changes: Mapping[str, tuple[Entry, Tensor]]) -> None:
    """Write new numbers over those of tensors; the checksums of a zip archive follow.

    Args:
        path: a copy of the file that the entries were read from.
        changes: by name: where the tensor lies, and its new numbers, of the same type and shape.

    Raises:
        RequestError: a tensor's bytes do not follow each other in the file.
    """
    with path.open("r+b") as file:
        for name, (entry, tensor) in changes.items():
            if entry.held is not None:
                msg = f"{entry.path}: {name!r} is not stored contiguously: save it contiguous"
                raise RequestError(msg)
            flat: Any = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
            file.seek(entry.offset)
            file.write(flat.tobytes())
    if zipfile.is_zipfile(path):
        _renew_checksums(path)


def _renew_checksums(path: Path) -> None:
    """Write the CRC-32 of every entry anew, in both places where an archive holds it."""
    with zipfile.ZipFile(path) as archive:
        infos, start = archive.infolist(), archive.start_dir
    with path.open("r+b") as file:
        place = start
        for info in infos:
            file.seek(place)
            fields = _CENTRAL.unpack(file.read(_CENTRAL.size))
            if fields[0] != b"PK\x01\x02":
                msg = f"{path}: the directory of the archive cannot be followed; save it again"
                raise StoreError(msg)
            if info.file_size:
                _renew(file, info, place)
            place += _CENTRAL.size + fields[10] + fields[11] + fields[12]


def _renew(file: Any, info: zipfile.ZipInfo, place: int) -> None:
    file.seek(info.header_offset)
    header = file.read(30)
    names, extra = struct.unpack("<HH", header[26:30])
    begin, crc, left = info.header_offset + 30 + names + extra, 0, info.file_size
    file.seek(begin)
    while left:
        piece = file.read(min(_PIECE, left))
        crc, left = zlib.crc32(piece, crc), left - len(piece)
    if crc == info.CRC or not info.CRC:
        return  # unchanged, or written without checksums
    described = struct.unpack("<H", header[6:8])[0] & 8
    if described:  # the checksum stands behind the data, after an optional signature
        file.seek(begin + info.file_size)
        signed = file.read(4) == b"PK\x07\x08"
        file.seek(begin + info.file_size + (4 if signed else 0))
    else:
        file.seek(info.header_offset + _LOCAL_CRC)
    file.write(struct.pack("<I", crc))
    file.seek(place + _CENTRAL_CRC)
    file.write(struct.pack("<I", crc))
