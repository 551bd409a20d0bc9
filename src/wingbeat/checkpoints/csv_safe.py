"""Text that comes from outside, written to CSV so that no spreadsheet computes it.

Source: OWASP, "CSV injection".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wingbeat.files import write_bytes

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n")


def harmless(text: object) -> object:
    """Return text with an apostrophe before it where a spreadsheet would compute it.

    >>> harmless("=1+1"), harmless("layer.0"), harmless(-2.5)
    ("'=1+1", 'layer.0', -2.5)
    """
    dangerous = isinstance(text, str) and text.lstrip(" \u00a0\ufeff").startswith(_BEGINNINGS)
    return f"'{text}" if dangerous else text


def write_csv(table: pd.DataFrame, path: Path) -> Path:
    """Write a table as CSV, all or nothing, with every text cell and column name harmless.

    Raises:
        StoreError: the file cannot be written.
    """
    safe = table.copy()
    for name in safe.columns:
        if safe[name].dtype.kind not in "biuf":
            safe[name] = safe[name].map(harmless)
    safe.columns = [str(harmless(name)) for name in safe.columns]
    text = safe.to_csv(index=False, lineterminator="\n")
    write_bytes(path, text.encode("utf-8", errors="replace"))
    return path
