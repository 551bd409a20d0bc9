"""One run at a time in a process: threads take turns.

The generators of Python, NumPy and torch, torch's deterministic flag, its switches of kernels and
its default type are one for the whole process. Two runs in threads would draw from each other's
streams and switch each other's kernels, and give other bits than alone. Whatever seeds or switches
therefore holds the turn; another thread waits, and is told so once. Processes do not wait for each
other: they are how several runs go at the same time.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG: Final = logging.getLogger("wingbeat")
_LOOK: Final = 0.5
"""Seconds after which a thread that waits looks whether the one it waits for has ended."""


@dataclass
class _Holder:
    """The thread that has the turn, and how many blocks deep it is in it."""

    thread: threading.Thread
    depth: int = 0


class Turn:
    """A lock that its thread may take again, and that does not stay behind with a dead thread.

    A suspended generator, such as a loop over ``Twins`` that was left, may be closed by another
    thread than began it: what it gives back is then its own turn and not that of another thread.

    >>> turn = Turn()
    >>> with turn.held(), turn.held():
    ...     turn.free
    False
    >>> turn.free
    True
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._holder: _Holder | None = None
        self._told = False

    @property
    def free(self) -> bool:
        """Tell whether no thread has the turn."""
        return self._holder is None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the turn, and hold it within the block."""
        holder = self._take()
        try:
            yield
        finally:
            self._give_back(holder)

    def _take(self) -> _Holder:
        here = threading.current_thread()
        with self._changed:
            while self._holder is not None and self._holder.thread is not here:
                if not self._holder.thread.is_alive():
                    self._holder = None  # it ended in the middle of a loop that it had left
                    break
                self._tell(self._holder.thread.name)
                self._changed.wait(_LOOK)
            if self._holder is None:
                self._holder = _Holder(here)
            self._holder.depth += 1
            return self._holder

    def _give_back(self, holder: _Holder) -> None:
        with self._changed:
            holder.depth -= 1
            if holder is self._holder and holder.depth == 0:
                self._holder = None
                self._changed.notify_all()

    def _tell(self, name: str) -> None:
        if not self._told:
            self._told = True
            LOG.warning(
                "Another run of this process is under way in thread %r: this one waits until it "
                "has ended, because random numbers and torch's switches are one for the whole "
                "process. Several runs at the same time need a process each (said once).",
                name,
            )


_TURN = Turn()


def alone() -> contextlib.AbstractContextManager[None]:
    """Return a block within which no other thread of this process runs anything of wingbeat's.

    Blocks of one thread may be nested.

    >>> with alone(), alone():
    ...     pass
    """
    return _TURN.held()


def _begin_anew() -> None:
    """Free the turn in a forked child, where the thread that had it may not exist."""
    global _TURN  # noqa: PLW0603  (a lock that another thread holds cannot be used again)
    _TURN = Turn()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
