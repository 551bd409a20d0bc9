"""Where wingbeat keeps what it may use again: downloads, and measured choices of drivers."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder that ``WINGBEAT_CACHE`` names, else ``wingbeat`` in the user's cache.

    >>> cache_folder().name != ""
    True
    """
    given = os.environ.get("WINGBEAT_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wingbeat"
