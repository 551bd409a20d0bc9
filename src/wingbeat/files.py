"""Files that are whole or absent: written beside their place, flushed to the disk, renamed."""

from __future__ import annotations

import errno
import io
import json
import os
import secrets
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wingbeat.errors import StoreError

if TYPE_CHECKING:
    import pandas as pd


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file of a run, all or nothing.

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


def replace_file(path: Path, content: bytes) -> None:
    """Write any file, all or nothing.

    Raises:
        OSError: it cannot be written; nothing was changed.
    """
    beside = path.parent / f".writing-{secrets.token_hex(8)}"
    # Exclusive, hence never through a link that lies there; the permissions are the umask's.
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _flush_folder(path.parent)
    except OSError:
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


def parquet(table: pd.DataFrame) -> bytes:
    """Return a table as a parquet file; equal tables give equal bytes."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()
