"""Progress in a notebook: one line of text that changes, without a widget or its extension."""

from __future__ import annotations

import sys
import time
from importlib import import_module
from typing import Any, Final

_BETWEEN: Final = 0.2
"""Seconds between two changes: a notebook that is sent more of them lags behind."""


def in_notebook() -> bool:
    """Tell whether this process is the kernel of a notebook (and not IPython on a terminal).

    >>> in_notebook()
    False
    """
    known = sys.modules.get("IPython")
    shell = known.get_ipython() if known is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


class NotebookLine:
    """A line below the cell that runs, replaced in place; IPython must be running."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._shown, self._at = "", 0.0

    def show(self, words: str, *, now: bool = False) -> None:
        """Put these words in place of the last ones; too soon after those they are dropped."""
        if words == self._shown or (not now and time.monotonic() - self._at < _BETWEEN):
            return
        display = import_module("IPython.display").display

        content = {"text/plain": words}
        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)
        self._shown, self._at = words, time.monotonic()
