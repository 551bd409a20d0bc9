"""Sizes of memory as words, and how much this process has."""

from __future__ import annotations

import os
import re
from pathlib import Path

from wingbeat.errors import RequestError

_UNITS = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}


def parse_memory(size: int | str) -> int:
    """Return a size of memory in bytes.

    Raises:
        RequestError: it is not of the form "1GiB", "512 MB" or a positive number of bytes.

    >>> parse_memory("1GiB"), parse_memory("1.5 kB"), parse_memory(4096)
    (1073741824, 1500, 4096)
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]{0,3})\s*", str(size))
    unit = _UNITS.get(match[2].upper()) if match else None
    found = int(float(match[1]) * unit) if match and unit else 0
    if found <= 0 or isinstance(size, bool):
        msg = f"memory is {size!r}: give a size such as '1GiB', '512MiB' or a number of bytes"
        raise RequestError(msg)
    return found


def show_memory(size: int) -> str:
    """Return a size in the largest binary unit that keeps it at 1 or above.

    >>> show_memory(3 * 2**29), show_memory(100)
    ('1.5 GiB', '100 B')
    """
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size >= _UNITS[unit.upper()]:
            return f"{size / _UNITS[unit.upper()]:.4g} {unit}"
    return f"{size} B"


def resident() -> int:
    """Return the bytes of this process that are in memory now; 0 where that is not told."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
