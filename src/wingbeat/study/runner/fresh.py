"""Fresh processes: without any state of ours, and ready soon.

On Linux workers are forked off a server that has imported torch and is used for nothing else. The
first study of a program waits for it, unless it was started before, as the command line does; later
workers, those that take the place of a dead one too, start at once and share the server's memory.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from wingbeat.worker_server import is_forked, server_context

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext


def fresh(*, pinned: bool = False) -> ForkServerContext | SpawnContext:
    """Return how to start fresh processes on this system.

    Args:
        pinned: a process sees only some accelerators; it must then import torch by itself.

    Example:
        >>> fresh(pinned=True).get_start_method()
        'spawn'
    """
    if pinned or not is_forked():
        return multiprocessing.get_context("spawn")
    return server_context()


def inherited(variables: Mapping[str, str]) -> None:
    """Take over the environment of the process that asked; the server's may be older."""
    os.environ.clear()
    os.environ.update(variables)
