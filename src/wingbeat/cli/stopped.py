"""A command that is stopped, by Ctrl-C or asked to end: what is kept, and how to go on."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_WHOLE: Final = ("fork", "nudge")
"""Commands whose copies are whole or nothing: only the script could go on half way."""


class Terminated(KeyboardInterrupt):
    """The process was asked to end, as a queue, ``timeout`` and ``kill`` do."""


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let a request to end (SIGTERM) stop what runs inside as Ctrl-C does.

    A process that the user's code forks off ends at once on such a request, as it always did.
    """
    own, sign = os.getpid(), signal.SIGTERM
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(sign) is not signal.SIG_DFL:  # someone else's business
        yield
        return

    def asked(*_: object) -> None:
        if os.getpid() == own:
            raise Terminated
        signal.signal(sign, signal.SIG_DFL)
        os.kill(os.getpid(), sign)

    signal.signal(sign, asked)
    try:
        yield
    finally:
        signal.signal(sign, signal.SIG_DFL)


def exit_code(stop: KeyboardInterrupt) -> int:
    """Return the exit code of a command that was stopped: 128 and the number of the signal.

    >>> exit_code(KeyboardInterrupt()), exit_code(Terminated())
    (130, 143)
    """
    return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)


def said_of(stop: KeyboardInterrupt, command: str, given: dict[str, Any]) -> str:
    """Return what a stop leaves, and how to go on.

    >>> said_of(KeyboardInterrupt(), "verify", {})
    'Interrupted. Nothing was kept.'
    """
    word = "Asked to end" if isinstance(stop, Terminated) else "Interrupted"
    folder = given.get("out") or _default_folder(command, given)
    if folder is None or not Path(folder).exists():
        return f"{word}. Nothing was kept."
    if command in _WHOLE:
        return (
            f"{word}. Copies that are done are kept in {folder}: the same command again makes "
            "the others; one that was under way begins anew."
        )
    return (
        f"{word}. What was recorded is kept in {folder}: the same command again goes on from "
        "its last checkpoint, at most a few seconds back."
    )


def _default_folder(command: str, given: dict[str, Any]) -> Path | None:
    from wingbeat.cli.options import folder_for

    if "factory" in given and "out" in given:
        return folder_for(given["factory"], "" if command == "run" else command)
    return None
