"""Files that are whole or absent: written beside their place, flushed to the disk, renamed."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import secrets
import stat
from collections.abc import Iterable, Mapping
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from wingbeat.errors import StoreError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


WRITING: Final = ".writing-"
"""How the names of files begin that are being written."""


def write_bytes(path: Path, content: bytes | Iterable[Any]) -> None:
    """Write a file of a run, a report or a picture, all or nothing.

    Args:
        path: where it will lie.
        content: all of it, or one piece after another, bytes or what lies in memory as bytes.

    Raises:
        StoreError: the disk is full or the folder cannot be written; nothing was changed.
    """
    try:
        replace_file(path, content)
    except OSError as error:
        msg = (
            f"{path} cannot be written ({error.strerror}). What was recorded before is whole and "
            "readable; make room or make the folder writable, then run the same command again."
        )
        raise StoreError(msg) from error


def replace_file(path: Path, content: bytes | Iterable[Any]) -> None:
    """Write any file, all or nothing; its permissions are those that the umask leaves.

    Args:
        path: where it will lie.
        content: see `write_bytes`.

    Raises:
        OSError: it cannot be written; nothing was changed.
    """
    beside = None
    try:
        handle, beside = _new_file(path.parent)
        with os.fdopen(handle, "wb") as file:
            pieces: Iterable[Any] = [content] if isinstance(content, bytes) else content
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
            beside.replace(path)  # while it is open, and so held against `sweep`
        _flush_folder(path.parent)
    except OSError:
        if beside is not None:
            beside.unlink(missing_ok=True)
        raise


def _flush_folder(folder: Path) -> None:
    """Write a renaming to the disk, where the system can do that for folders."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


def _new_file(folder: Path) -> tuple[int, Path]:
    """Open a file that was not there before, through no link, and hold it while it is open."""
    while True:
        path = folder / f"{WRITING}{secrets.token_hex(8)}"
        # Exclusive, hence never through a link that lies there; the permissions are the umask's.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        _hold(handle)
        if os.fstat(handle).st_nlink:
            return handle, path
        os.close(handle)  # another process swept it away before it was held


def sweep(folder: Path) -> None:
    """Remove what killed processes left half written in a run's folder, and nothing of a live one.

    Other folders inside it are left to the runs that they are of.
    """
    for pattern in (f"{WRITING}*", f"snapshots/{WRITING}*", f"state/{WRITING}*"):
        for path in folder.glob(pattern):
            _remove_unless_held(path)


def _remove_unless_held(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:  # it is whole by now, or not ours to remove
        return
    try:
        if _hold(handle):
            path.unlink(missing_ok=True)
    finally:
        os.close(handle)


def _hold(handle: int) -> bool:
    """Hold an open file; False where another does, or where the file system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_there(path: Path) -> bool:
    """Tell whether a file is there.

    Raises:
        StoreError: its folder may not be looked into, so that nobody can tell.
    """
    try:
        return path.exists()
    except OSError as error:
        raise unreadable(path, error) from error


def read_file(path: Path, what_if_damaged: str = "") -> bytes:
    """Read a file of a run.

    Args:
        path: the file.
        what_if_damaged: what to do where the disk cannot give it back.

    Raises:
        StoreError: it is missing, may not be read, or the disk fails; the message says which.
    """
    try:
        return regular_bytes(path)
    except OSError as error:
        raise unreadable(path, error, what_if_damaged) from error


def regular_bytes(path: Path) -> bytes:
    """Return what a regular file holds; a pipe, a device or a folder in its place has no end.

    Raises:
        OSError: it is missing, may not be read, is of another kind, or the disk fails.
    """
    require_regular(path)
    return path.read_bytes()


def require_regular(path: Path) -> None:
    """Refuse what is no regular file, through links too.

    Raises:
        OSError: it is missing, may not be looked at, or is of another kind.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))


def unreadable(path: Path, error: Exception, what_if_damaged: str = "") -> StoreError:
    """Return the error of a file that cannot be read: forbidden, missing and damaged differ."""
    if isinstance(error, PermissionError):
        return StoreError(
            f"{path} may not be read ({error.strerror}): ask its owner, or change its permissions "
            "(chmod u+r, and u+x for folders)"
        )
    if isinstance(error, FileNotFoundError):
        return StoreError(f"{path} is missing. {what_if_damaged}".rstrip())
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    return StoreError(f"{path} cannot be read ({said}): it is damaged. {what_if_damaged}".rstrip())


def json_safe(value: Any) -> Any:
    """Return what strict JSON can hold: arrays as lists, NaN and infinity as None.

    >>> json_safe({"a": np.array([1.0, np.inf]), "b": (np.float32(2), "x")})
    {'a': [1.0, None], 'b': [2.0, 'x']}
    """
    if isinstance(value, np.ndarray | np.generic):
        return json_safe(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def strict_json(content: Any, *, indent: int | None = 1, sort_keys: bool = False) -> str:
    """Return content as JSON that every reader accepts: NaN and infinity raise ``ValueError``.

    >>> strict_json({"b": 1, "a": None}, indent=None, sort_keys=True)
    '{"a": null, "b": 1}'
    """
    return json.dumps(
        content, indent=indent, sort_keys=sort_keys, ensure_ascii=False, allow_nan=False
    )


def write_json(path: Path, content: Any, *, sort_keys: bool = False) -> None:
    """Write strict JSON, all or nothing; errors as in `write_bytes`."""
    write_bytes(path, strict_json(content, sort_keys=sort_keys).encode())


def from_parquet(content: bytes) -> pd.DataFrame:
    """Return the table that the bytes of a Parquet file hold."""
    import pandas as pd  # late: most programs read none

    return pd.read_parquet(io.BytesIO(content))


def parquet(table: pd.DataFrame) -> bytes:
    """Return a table as a parquet file; equal tables give equal bytes."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


def picture_bytes(figure: Figure, path: Path, **options: Any) -> bytes:
    """Return a figure of matplotlib as the file that it becomes; the ending chooses the format.

    Args:
        figure: what to draw.
        path: where it will lie; without an ending it is a PNG.
        options: of ``Figure.savefig``.

    Raises:
        ValueError: matplotlib writes no such format.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:].lower() or "png", **options)
    return buffer.getvalue()
