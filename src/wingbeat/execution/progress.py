"""Progress on a terminal or in a notebook; silence everywhere else."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from wingbeat.execution.notebook_line import NotebookLine, in_notebook
from wingbeat.terminal import Console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType


class Progress:
    """Bars on standard error, or a line in a notebook.

    Args:
        wanted: True or False; None shows them on a terminal and in a notebook only.
    """

    def __init__(self, wanted: bool | None = None) -> None:
        console = Console(stderr=True, force_jupyter=False)
        inside = wanted is not False and in_notebook()
        self._notebook = NotebookLine() if inside else None
        shown = not inside and (console.is_terminal if wanted is None else wanted)
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not shown,
            transient=True,
        )
        self._line: TaskID | None = None

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    @contextlib.contextmanager
    def task(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a bar for a piece of work; yields a function that sets how far it is."""
        if self._notebook is not None:
            place = self._notebook
            yield lambda done: place.show(f"{name}: {done:,} of {total:,}", now=done == total)
            return
        if self._bars.disable:
            yield lambda _: None
            return
        line = self._bars.add_task(name, total=total)
        yield lambda done: self._bars.update(line, completed=done)
        self._bars.remove_task(line)

    def note(self, words: str) -> None:
        """Print a line that stays."""
        logging.getLogger("wingbeat").info(words)
        if self._notebook is not None:
            print(words)  # noqa: T201  (a cell's own output)
        if not self._bars.disable:
            self._bars.console.print(words, markup=False, highlight=False)

    def say(self, words: str) -> None:
        """Show what is being done."""
        if self._notebook is not None:
            self._notebook.show(words)
            return
        if self._bars.disable:
            return
        if self._line is None:
            self._line = self._bars.add_task(words, total=None)
        self._bars.update(self._line, description=words)
