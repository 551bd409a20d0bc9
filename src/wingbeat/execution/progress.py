"""Progress on a terminal; silence everywhere else."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType


class Progress:
    """Bars on standard error.

    Args:
        wanted: True or False; None shows bars on a terminal only.
    """

    def __init__(self, wanted: bool | None = None) -> None:
        console = Console(stderr=True)
        shown = console.is_terminal if wanted is None else wanted
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
        if self._bars.disable:
            yield lambda _: None
            return
        line = self._bars.add_task(name, total=total)
        yield lambda done: self._bars.update(line, completed=done)
        self._bars.remove_task(line)

    def note(self, words: str) -> None:
        """Print a line that stays."""
        logging.getLogger("wingbeat").info(words)
        if not self._bars.disable:
            self._bars.console.print(words, markup=False, highlight=False)

    def say(self, words: str) -> None:
        """Show what is being done."""
        if self._bars.disable:
            return
        if self._line is None:
            self._line = self._bars.add_task(words, total=None)
        self._bars.update(self._line, description=words)
