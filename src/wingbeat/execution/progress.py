"""Progress on a terminal or in a notebook; silence everywhere else."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import TYPE_CHECKING, Final

from wingbeat.execution.notebook_line import NotebookLine, in_notebook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_ASKING: Final = ("FORCE_COLOR", "TTY_COMPATIBLE")
"""Where these are set rich decides whether there is a terminal."""


class Progress:
    """Bars on standard error, or a line in a notebook.

    Args:
        wanted: True or False; None shows them on a terminal and in a notebook only.
    """

    def __init__(self, wanted: bool | None = None) -> None:
        inside = wanted is not False and in_notebook()
        self._notebook = NotebookLine() if inside else None
        self._bars = None if inside else _bars(wanted)
        self._line: TaskID | None = None

    def __enter__(self) -> Progress:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    @contextlib.contextmanager
    def task(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a bar for a piece of work; yields a function that sets how far it is."""
        if self._notebook is not None:
            place = self._notebook
            yield lambda done: place.show(f"{name}: {done:,} of {total:,}", now=done == total)
            return
        bars = self._bars
        if bars is None:
            yield lambda _: None
            return
        line = bars.add_task(name, total=total)
        yield lambda done: bars.update(line, completed=done)
        bars.remove_task(line)

    def note(self, words: str) -> None:
        """Print a line that stays."""
        logging.getLogger("wingbeat").info(words)
        if self._notebook is not None:
            print(words)  # noqa: T201  (a cell's own output)
        if self._bars is not None:
            self._bars.console.print(words, markup=False, highlight=False)

    def say(self, words: str) -> None:
        """Show what is being done."""
        if self._notebook is not None:
            self._notebook.show(words)
            return
        if self._bars is None:
            return
        if self._line is None:
            self._line = self._bars.add_task(words, total=None)
        self._bars.update(self._line, description=words)


def _bars(wanted: bool | None) -> Bars | None:
    """Return bars on standard error; None where none are shown, and rich need not be loaded."""
    asked = wanted or any(os.environ.get(name) for name in _ASKING) or _is_terminal()
    if wanted is False or not asked:
        return None
    from rich import progress

    from wingbeat.terminal import Console

    console = Console(stderr=True, force_jupyter=False)
    if not (console.is_terminal if wanted is None else wanted):
        return None
    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _is_terminal() -> bool:
    try:
        return bool(getattr(sys.stderr, "isatty", bool)())
    except ValueError:  # it is closed
        return False
