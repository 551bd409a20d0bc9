"""What every reader of a checkpoint gives: its tensors by name, and their bytes on demand."""

from __future__ import annotations

import contextlib
import math
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, Self

import torch

from wingbeat.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from io import FileIO
    from pathlib import Path

    from torch import Tensor

Kind = Literal["float", "integer", "complex", "quantised"]

FLOATS = {
    name: getattr(torch, name)
    for name in (
        "float64",
        "float32",
        "float16",
        "bfloat16",
        "float8_e4m3fn",
        "float8_e5m2",
        "float8_e4m3fnuz",
        "float8_e5m2fnuz",
    )
    if hasattr(torch, name)
}
"""Floating-point types that are compared, by name; each is widened to float64 exactly."""


READ: Final = ("float", "integer")
"""Kinds whose numbers can be read: the first are compared, the others are a model's counters."""


@dataclass(frozen=True)
class Piece:
    """Numbers of a tensor that follow each other in a file.

    Attributes:
        path: the file.
        offset: of the first byte.
        numbers: how many.
    """

    path: Path
    offset: int
    numbers: int


@dataclass(frozen=True)
class Entry:
    """One tensor of a checkpoint: what it is, and where its bytes lie.

    Attributes:
        name: as in the file, a prefix that all names share (``module.``) taken off.
        dtype: name of the type, ``"float32"``, ``"int64"``, ``"F4"``, …
        shape: of the tensor.
        path: the file that holds it.
        offset: of its first byte in that file; its bytes follow each other in C order.
        kind: only "float" tensors are compared.
        held: the tensor itself where it cannot be read piece by piece (a strided one).
        pieces: where its numbers lie, in order, if not all follow each other in one file.
        mask: a tensor of the same shape that its numbers are multiplied by.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    path: Path
    offset: int
    kind: Kind = "float"
    held: Tensor | None = field(default=None, compare=False, repr=False)
    pieces: tuple[Piece, ...] = ()
    mask: Entry | None = field(default=None, compare=False, repr=False)

    @property
    def numbers(self) -> int:
        """Count of its numbers."""
        return math.prod(self.shape)

    @property
    def torch_dtype(self) -> torch.dtype:
        """Its type, for a tensor of a kind that is read."""
        found: torch.dtype = FLOATS.get(self.dtype) or getattr(torch, self.dtype)
        return found


class Source(Protocol):
    """A checkpoint of any format, opened: nothing but its names and shapes is in memory."""

    @property
    def path(self) -> Path:
        """What was opened."""
        ...

    @property
    def format(self) -> str:
        """Name of the format, for people."""
        ...

    @property
    def entries(self) -> Mapping[str, Entry]:
        """All tensors by name, each stored tensor once."""
        ...

    @property
    def tied(self) -> Mapping[str, str]:
        """Further names of stored tensors: name → the name under which it is stored."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What was chosen or changed in opening it, in sentences."""
        ...

    def check(self, tick: Callable[[int], None]) -> bool:
        """Read everything once and compare it with its checksum.

        Args:
            tick: called with the count of bytes read.

        Returns:
            Whether there was a checksum.

        Raises:
            StoreError: it does not fit; the message names the file.
        """
        ...


def read_bytes(path: Path, offset: int, out: memoryview) -> None:
    """Fill a buffer from a place of a file, without mapping the file into memory.

    Raises:
        StoreError: the file is shorter than that, or cannot be read.
    """
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            _fill(file, path, out)
    except OSError as error:
        raise _unreadable(path, error) from error


def _fill(file: FileIO, path: Path, out: memoryview) -> None:
    done = file.readinto(out)
    while done < len(out):
        got = file.readinto(out[done:])
        if not got:
            msg = (
                f"{path} ends {len(out) - done} bytes too early: it was cut short or is "
                "being written. Copy it again"
            )
            raise StoreError(msg)
        done += got


def _unreadable(path: Path, error: OSError) -> StoreError:
    why = error.strerror or error
    return StoreError(f"{path} cannot be read ({why}): copy it again, or check the disk")


def bytes_of(tensor: Tensor) -> memoryview:
    """Return the bytes of a contiguous tensor, to be written to."""
    flat: Any = tensor.view(torch.uint8).numpy()
    return memoryview(flat)


class Numbers:
    """A "float" tensor's numbers from a place on, in C order, one piece after the other.

    Args:
        entry: the tensor.
        start: place of the first number.
        ahead: how many numbers the system may fetch from the disk meanwhile.

    Raises:
        StoreError: the file is shorter than its header says, or cannot be read.
    """

    def __init__(self, entry: Entry, start: int, ahead: int = 0) -> None:
        self._size = entry.torch_dtype.itemsize
        self._place, self._ahead = start * self._size, ahead * self._size
        self._file: FileIO | None = None
        self._held = None if entry.held is None else entry.held.reshape(-1)
        whole = Piece(entry.path, entry.offset, entry.numbers)
        self._pieces = list(reversed(entry.pieces or (whole,)))
        self._path, self._left = entry.path, 0
        self._dtype = entry.torch_dtype
        self._mask = None if entry.mask is None else (Numbers(entry.mask, start), entry.mask)
        if entry.held is None:
            self._open(start)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        if self._mask is not None:
            self._mask[0].__exit__()

    def fill(self, out: memoryview) -> None:
        """Fill a buffer with the bytes of the numbers that come next."""
        self._fill_bare(out)
        if self._mask is not None:
            numbers, entry = self._mask
            mask = torch.empty(len(out) // self._size, dtype=entry.torch_dtype)
            numbers.fill(bytes_of(mask))
            torch.frombuffer(out, dtype=self._dtype).mul_(mask)

    def _fill_bare(self, out: memoryview) -> None:
        if self._held is not None:
            begin, self._place = self._place, self._place + len(out)
            part = self._held[begin // self._size : self._place // self._size]
            out[:] = bytes_of(part.contiguous())
            return
        while len(out):
            if not self._left:
                self._open(0)
            count = min(len(out), self._left)
            self._read(out[:count])
            out, self._left = out[count:], self._left - count

    def _read(self, out: memoryview) -> None:
        if self._file is not None:
            try:
                _fill(self._file, self._path, out)
            except OSError as error:
                raise _unreadable(self._path, error) from error

    def _open(self, skipped: int) -> None:
        """Open the piece that holds the number so many places after the pieces read so far."""
        piece = self._pieces.pop()
        while skipped >= piece.numbers and self._pieces:
            skipped -= piece.numbers
            piece = self._pieces.pop()
        if self._file is not None:
            self._file.close()
        offset = piece.offset + skipped * self._size
        self._path, self._left = piece.path, (piece.numbers - skipped) * self._size
        try:
            self._file = piece.path.open("rb", buffering=0)
            self._file.seek(offset)
        except OSError as error:
            raise _unreadable(piece.path, error) from error
        if self._ahead and hasattr(os, "posix_fadvise"):
            with contextlib.suppress(OSError):  # advice that a file system may not take
                os.posix_fadvise(self._file.fileno(), offset, self._ahead, os.POSIX_FADV_WILLNEED)


def read_whole(entry: Entry) -> Tensor:
    """Return one tensor, freshly read, in its own type.

    Raises:
        StoreError: as for `Numbers`.
    """
    out = torch.empty(entry.numbers, dtype=entry.torch_dtype)
    with Numbers(entry, 0) as numbers:
        numbers.fill(bytes_of(out))
    return out.reshape(entry.shape)
