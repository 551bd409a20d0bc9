"""The former place of tasks and studies: old names import from the new place, with a warning.

To be removed with the next version; `wingbeat.moved` lists where each module is.
"""

from __future__ import annotations

import importlib
from typing import Any

from wingbeat.moved import MOVED


def __getattr__(name: str) -> Any:
    if f"{__name__}.{name}" in MOVED:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
