"""Fresh processes: without any state of ours, and ready soon.

Importing torch and what the first recorded step needs takes a worker seconds of processor time.
On Linux a server process imports both once and is used for nothing else; workers are
forked off it. The first study of a program waits for the server; later workers, those that take
the place of a dead one too, start at once and share the server's memory.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Libraries read these when they load."""

IMPORTED = ("wingbeat.study.work", "torch._dynamo")
"""What the server imports; torch loads the second when a step is first recorded."""


def fresh(*, pinned: bool = False) -> ForkServerContext | SpawnContext:
    """Return how to start fresh processes on this system.

    Args:
        pinned: a process sees only some accelerators; it must then import torch by itself.

    Example:
        >>> fresh(pinned=True).get_start_method()
        'spawn'
    """
    if pinned or sys.platform != "linux":  # macOS's own libraries do not bear a fork
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    return context


def inherited(variables: Mapping[str, str]) -> None:
    """Take over the environment of the process that asked; the server's may be older."""
    os.environ.clear()
    os.environ.update(variables)


class environment:  # noqa: N801  (reads as a statement)
    """Start processes with some environment variables of their own."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self.settings = settings

    def __enter__(self) -> None:
        self.before = {name: os.environ.get(name) for name in self.settings}
        os.environ.update(self.settings)

    def __exit__(self, *_: object) -> None:
        for name, value in self.before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
