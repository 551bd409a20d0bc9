"""The server that workers are forked off: what it imports, and how it is started.

Importing torch and what training needs takes a process a second or two. On Linux a server
process imports it once and is used for nothing else.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from multiprocessing.context import ForkServerContext

THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Libraries read these when they load."""

IMPORTED: Final = ("wingbeat.study.work",)
"""What the server imports."""


def server_context() -> ForkServerContext:
    """Return how processes are forked off the server, which the first of them starts."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    return context


def is_forked() -> bool:
    """Tell whether this system forks workers; macOS's own libraries do not bear it."""
    return sys.platform == "linux"


def start_server() -> None:
    """Start the server, to import what it imports while this process goes on.

    Nothing happens where workers would not be forked off it, as where they share out accelerators.
    """
    if is_forked() and not any(Path("/dev").glob("nvidia[0-9]*")):
        from multiprocessing import forkserver  # late: the list of commands needs none of it

        server_context()
        with environment(dict.fromkeys(THREADS, "1")):
            forkserver.ensure_running()


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
