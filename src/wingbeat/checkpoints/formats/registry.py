"""Checkpoint formats by name, and which of them a file is: decided by content, never by suffix."""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wingbeat.checkpoints.foreign import foreign_file
from wingbeat.checkpoints.source import Source
from wingbeat.errors import RequestError, StoreError
from wingbeat.plugins import Registry

Read = Callable[[Path, str | None], Source]
HEAD: Final = 64
"""Bytes from the beginning of a file that a format is recognised by."""


@dataclass(frozen=True)
class CheckpointFormat:
    """A layout of checkpoints on disk.

    Attributes:
        name: of the format.
        function: ``(path, key) -> Source``; reads names and shapes, no numbers. ``key`` says where
            the tensors are inside a file that holds more.
        fits: ``(path, head) -> bool``: whether a file that begins with these bytes is one.
        in_folder: ``folder -> path`` of the file that stands for a folder of this format, or None.
        caption: what it is, in a line.
        order: formats of a lower order are asked first.
    """

    name: str
    function: Read
    fits: Callable[[Path, bytes], bool]
    in_folder: Callable[[Path], Path | None]
    caption: str = ""
    order: int = 50


FORMATS: Final[Registry[CheckpointFormat]] = Registry(
    "wingbeat.checkpoint_formats",
    "checkpoint format",
    lambda found: isinstance(found, CheckpointFormat),
    "wingbeat.checkpoints.formats",
)
"""Every checkpoint format by name."""


def checkpoint_format(
    name: str,
    *,
    fits: Callable[[Path, bytes], bool],
    in_folder: Callable[[Path], Path | None] = lambda _: None,
    caption: str = "",
    order: int = 50,
) -> Callable[[Read], CheckpointFormat]:
    """Declare the function that opens checkpoints of a format.

    Args:
        name: of the format.
        fits: whether a file that begins with these 64 bytes is one; nothing else may fit.
        in_folder: which file stands for a folder of this format; None if the folder is none.
        caption: what it is, in a line.
        order: formats of a lower order are asked first; the built-in ones have 100 and more.

    Raises:
        RequestError: the name is taken.

    Example:
        >>> FORMATS.find("safetensors").caption
        'One safetensors file.'
    """

    def declare(function: Read) -> CheckpointFormat:
        found = CheckpointFormat(name, function, fits, in_folder, caption, order)
        return FORMATS.add(name, found)

    return declare


def in_order() -> list[CheckpointFormat]:
    """Return every format in the order in which they are asked."""
    return sorted(FORMATS.all().values(), key=lambda one: (one.order, one.name))


def format_of(path: Path) -> CheckpointFormat:
    """Return the format of a file.

    Raises:
        RequestError: there is no such file, or it is no checkpoint.
        StoreError: it is a plain pickle, or cannot be read.
    """
    head = head_of(path)
    if head.startswith(b"version https://git-lfs"):
        msg = (
            f"{path} is the pointer of Git LFS to a file that was not fetched: run git lfs pull "
            "in its repository"
        )
        raise RequestError(msg)
    for one in in_order():
        if one.fits(path, head):
            return one
    if len(head) > 1 and head[0] == 0x80 and head[1] <= 5:
        msg = f"{path} is a pickle, which can run code when it is opened: refused{posing(path)}"
        raise StoreError(msg)
    if path.suffix == ".safetensors" and not head.startswith(b"<"):
        return FORMATS.find("safetensors")  # its reader says what is wrong with it
    if (other := foreign_file(path, head)) is not None:
        raise RequestError(f"{path} {other}")
    msg = f"{path} is no checkpoint: neither safetensors, nor an index of it, nor a PyTorch file"
    raise RequestError(msg)


def head_of(path: Path) -> bytes:
    """Return the first bytes of a file.

    Raises:
        RequestError: there is no such file.
        StoreError: it cannot be read.
    """
    regular, head = True, b""
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
        if regular:
            with path.open("rb") as file:
                head = file.read(HEAD)
    except FileNotFoundError as error:
        msg = f"there is no {path}: give the path of a checkpoint"
        raise RequestError(msg) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"{path} cannot be read ({reason}): check the path and its links"
        raise StoreError(msg) from error
    if not regular:
        msg = f"{path} is no file: give a checkpoint"
        raise RequestError(msg)
    return head


def posing(path: Path) -> str:
    """Return what to do about a pickle, with a warning if it is named safetensors."""
    if path.suffix != ".safetensors":
        return ". Save the weights as safetensors"
    return ", all the more since it is named safetensors. Get it again from a source you trust"
