"""The same run executed in other ways: a perturbation by arithmetic alone.

Sums in another order round differently, as they do on another machine. What one machine can vary
is the number of threads and the driver.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from wingbeat.errors import RequestError, nearest
from wingbeat.replicas.drivers.registry import DRIVERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wingbeat.replicas.drivers.selection import DriverName


@dataclass(frozen=True)
class Execution:
    """One way to execute a run.

    Attributes:
        driver: a driver by name, such as "loop" or "lockstep"; not "auto".
        threads: number of threads of torch.

    >>> Execution("loop", 2).name
    'loop-2'
    """

    driver: DriverName
    threads: int

    def __post_init__(self) -> None:
        if self.driver not in DRIVERS:
            known = nearest(str(self.driver), DRIVERS.names())
            raise RequestError(f"execution driver is {self.driver!r}: {known}")
        whole = isinstance(self.threads, int) and not isinstance(self.threads, bool)
        if not whole or self.threads < 1:
            raise RequestError(f"execution threads is {self.threads!r}: use a count of at least 1")

    @property
    def name(self) -> str:
        """Name in tables and folders."""
        return f"{self.driver}-{self.threads}"


def default_executions() -> tuple[Execution, ...]:
    """Return both drivers with one thread, and with as many as there are processors up to 8.

    >>> [e.threads for e in default_executions()][:2]
    [1, 1]
    """
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        count = os.cpu_count() or 1
    most = min(8, count)
    return tuple(Execution(d, n) for n in sorted({1, most}) for d in ("loop", "lockstep"))


def check_executions(executions: Sequence[Execution] | None) -> tuple[Execution, ...]:
    """Return the executions to compare.

    Raises:
        RequestError: there is none, or one is given twice.
    """
    given = default_executions() if executions is None else tuple(executions)
    if not given or len(set(given)) != len(given):
        names = [e.name for e in given]
        raise RequestError(f"executions are {names}: give different ones, at least two to compare")
    return given


@contextlib.contextmanager
def with_threads(count: int) -> Iterator[None]:
    """Run a block with another number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
