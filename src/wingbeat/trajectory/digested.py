"""JSON files that notice when they were altered: each carries a digest of its own content."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from wingbeat.errors import StoreError
from wingbeat.files import read_file, regular_bytes, strict_json

if TYPE_CHECKING:
    from pathlib import Path

DIGEST: Final = "sha256"
"""The key of the digest; every other key is content."""
_LIST: Final = "content"
"""The key under which content that is no object stands."""
_ADVICE: Final = "restore it from a copy, or start in another folder"


def with_digest(content: Any) -> dict[str, Any]:
    """Return JSON-safe content as an object with a digest of it.

    >>> sorted(with_digest({"a": 1}))
    ['a', 'sha256']
    """
    own = content if isinstance(content, dict) else {_LIST: content}
    own = json.loads(strict_json(own))  # as it will be read: keys are texts there
    return {**own, DIGEST: _digest(own)}


def read_digested(path: Path, *, needed: bool) -> Any:
    """Return the content of a JSON file, whose digest is checked if it has one.

    Args:
        path: of the file.
        needed: whether a file without a digest is refused: it was altered.

    Raises:
        StoreError: it is damaged or was altered; the message names it.
    """
    try:
        found = json.loads(read_file(path, "Restore it from a copy").decode())
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} is damaged ({error}): {_ADVICE}") from error
    written = found.pop(DIGEST, None) if isinstance(found, dict) else None
    if written is None and not needed:
        return found
    if written is None:
        raise StoreError(f"{path} was altered after it was written (it lost its digest): {_ADVICE}")
    if written != _digest(found):
        msg = f"{path} was altered after it was written (its digest does not fit): {_ADVICE}"
        raise StoreError(msg)
    return found[_LIST] if set(found) == {_LIST} else found


def carries_digest(path: Path) -> bool:
    """Tell whether a file says that it has a digest, without reading what it says."""
    try:
        return f'"{DIGEST}"'.encode() in regular_bytes(path)
    except OSError:
        return False


def _digest(content: dict[str, Any]) -> str:
    text = strict_json(content, indent=None, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
