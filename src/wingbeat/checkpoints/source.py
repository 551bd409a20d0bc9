"""What every reader of a checkpoint gives: its tensors by name, and their bytes on demand."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch

from wingbeat.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
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
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    path: Path
    offset: int
    kind: Kind = "float"
    held: Tensor | None = field(default=None, compare=False, repr=False)

    @property
    def numbers(self) -> int:
        """Count of its numbers."""
        return math.prod(self.shape)

    @property
    def torch_dtype(self) -> torch.dtype:
        """Its type, for a "float" tensor."""
        found: torch.dtype = FLOATS[self.dtype]
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
            done = 0
            while done < len(out):
                got = file.readinto(out[done:])
                if not got:
                    msg = (
                        f"{path} ends {len(out) - done} bytes too early: it was cut short or is "
                        "being written. Copy it again"
                    )
                    raise StoreError(msg)
                done += got
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror or error}): copy it again, or check the disk"
        raise StoreError(msg) from error


def bytes_of(tensor: Tensor) -> memoryview:
    """Return the bytes of a contiguous tensor, to be written to."""
    flat: Any = tensor.view(torch.uint8).numpy()
    return memoryview(flat)


def read_numbers(entry: Entry, start: int, out: Tensor) -> None:
    """Fill a contiguous tensor with a tensor's numbers from place ``start`` on, in C order.

    Args:
        entry: a "float" tensor.
        start: place of the first number.
        out: ``(count,)``, of the entry's type.

    Raises:
        StoreError: as for `read_bytes`.
    """
    if entry.held is not None:
        out.copy_(entry.held.reshape(-1)[start : start + len(out)])
        return
    if len(out):
        read_bytes(entry.path, entry.offset + start * out.element_size(), bytes_of(out))


def read_whole(entry: Entry) -> Tensor:
    """Return one tensor, freshly read, in its own type.

    Raises:
        StoreError: as for `read_bytes`.
    """
    out = torch.empty(entry.numbers, dtype=entry.torch_dtype)
    read_numbers(entry, 0, out)
    return out.reshape(entry.shape)
