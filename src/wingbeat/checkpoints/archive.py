"""The zip archive around a ``.pt`` file, judged by what it declares before any of it is read."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from wingbeat.checkpoints.foreign import foreign_archive
from wingbeat.checkpoints.source import read_bytes
from wingbeat.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

MOST_RECORDS = 1_000_000
"""Entries of an archive."""
LARGEST_PICKLE = 256 * 2**20
"""Bytes of the description of the tensors, the only part that is not numbers."""
_LOCAL = struct.Struct("<4s5HIIIHH")
_PIECE = 1 << 20


@dataclass(frozen=True)
class ArchiveRecord:
    """One entry of an archive: where its bytes lie in the file, and their CRC-32."""

    name: str
    offset: int
    size: int
    crc: int


def read_records(path: Path, base: int = 0, size: int | None = None) -> dict[str, ArchiveRecord]:
    """Return the entries of a ``.pt`` archive by name, from its directory alone.

    Args:
        path: the file.
        base: where in the file the archive begins.
        size: its bytes; None for all that follow.

    ``torch.save`` stores its entries as they are. Hence whatever is compressed, encrypted,
    larger than the file or lies over another entry was not made by it, and is refused.

    Raises:
        StoreError: the archive is cut short, damaged or made to mislead.
    """
    size = path.stat().st_size - base if size is None else size
    try:
        with path.open("rb") as whole, zipfile.ZipFile(FilePart(whole, base, size)) as file:
            infos = file.infolist()
    except ValueError as error:  # a place before the file
        raise _wrong(path, "it was cut short or is being written") from error
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise _wrong(path, f"its directory cannot be read: {error}") from error
    if len(infos) > MOST_RECORDS:
        raise _wrong(path, f"it has {len(infos):,} entries; {MOST_RECORDS:,} are allowed")
    _refuse_others(path, [info.filename for info in infos])
    found: dict[str, ArchiveRecord] = {}
    end = 0
    for info in sorted(infos, key=lambda i: i.header_offset):
        _refuse(path, info)
        if info.filename in found:
            raise _wrong(path, f"entry {info.filename!r} occurs twice")
        begin = _data_offset(path, info, base)
        if info.header_offset < end or begin + info.file_size > size:
            raise _wrong(path, f"entry {info.filename!r} lies over another or outside the file")
        end = begin + info.file_size
        found[info.filename] = ArchiveRecord(info.filename, base + begin, info.file_size, info.CRC)
    return found


class FilePart(io.RawIOBase):
    """A part of an open file as a file of its own, read-only.

    Args:
        file: opened for reading.
        base: where the part begins.
        size: its bytes.
    """

    def __init__(self, file: BinaryIO, base: int, size: int) -> None:
        super().__init__()
        self._file, self._base, self._size, self._at = file, base, size, 0

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it has places."""
        return True

    def tell(self) -> int:
        """Return the place in the part."""
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place of the part.

        Raises:
            ValueError: it lies before the part.
        """
        place = offset + (0, self._at, self._size)[whence]
        if place < 0:
            msg = f"place {place} lies before the part"
            raise ValueError(msg)
        self._at = place
        return place

    def readinto(self, out: Any) -> int:
        """Fill a buffer as far as the part goes."""
        left = max(0, min(len(out), self._size - self._at))
        self._file.seek(self._base + self._at)
        found = self._file.read(left)
        out[: len(found)] = found
        self._at += len(found)
        return len(found)


def check_records(
    path: Path, records: Iterable[ArchiveRecord], tick: Callable[[int], None]
) -> bool:
    """Compare entries with their CRC-32; returns whether any had one.

    Raises:
        StoreError: one does not fit.
    """
    piece = memoryview(bytearray(_PIECE))
    known = [r for r in records if r.crc and r.size]
    for record in known:
        crc = 0
        for start in range(0, record.size, _PIECE):
            part = piece[: min(_PIECE, record.size - start)]
            read_bytes(path, record.offset + start, part)
            crc = zlib.crc32(part, crc)
            tick(len(part))
        if crc != record.crc:
            msg = (
                f"{path} was altered after it was written (the checksum of its entry "
                f"{record.name!r} does not fit): restore it from a copy"
            )
            raise StoreError(msg)
    return bool(known)


def _refuse_others(path: Path, names: list[str]) -> None:
    """Refuse archives of others by what they are."""
    if (other := foreign_archive(names)) is not None:
        raise StoreError(f"{path} {other}")


def _refuse(path: Path, info: zipfile.ZipInfo) -> None:
    name = info.filename
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise _wrong(
            path,
            f"entry {name!r} is compressed and claims {info.file_size:,} bytes from "
            f"{info.compress_size:,}; torch.save never compresses",
        )
    if info.flag_bits & 1:
        raise _wrong(path, f"entry {name!r} is encrypted")
    if name.startswith("/") or "\\" in name or ".." in name.split("/"):
        raise _wrong(path, f"entry {name!r} points outside the archive")
    if name.endswith("data.pkl") and info.file_size > LARGEST_PICKLE:
        raise _wrong(path, f"entry {name!r} claims {info.file_size:,} bytes")


def _data_offset(path: Path, info: zipfile.ZipInfo, base: int) -> int:
    head = bytearray(_LOCAL.size)
    read_bytes(path, base + info.header_offset, memoryview(head))
    signature, *_, name_length, extra_length = _LOCAL.unpack(head)
    if signature != b"PK\3\4":
        raise _wrong(path, f"entry {info.filename!r} does not begin where the directory says")
    return int(info.header_offset + _LOCAL.size + name_length + extra_length)


def _wrong(path: Path, what: str) -> StoreError:
    return StoreError(f"{path} is no sound PyTorch file: {what}. Copy or download it again")
