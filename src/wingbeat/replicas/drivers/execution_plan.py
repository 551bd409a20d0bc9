"""The way in which a run is executed: its driver, the size of its stacks, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wingbeat.replicas.replicas import partition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wingbeat.replicas.fork import Member
    from wingbeat.replicas.replicas import Driver


@dataclass(frozen=True)
class ExecutionPlan:
    """An execution: the driver, its stack size, and why.

    ``timings`` holds milliseconds a step of all replicas, for each candidate measured.
    ``warnings`` name promises that this machine does not keep.
    """

    driver: Driver
    chunk: int
    spare: int = 1
    reason: str = ""
    timings: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def copies(self, members: Sequence[Member]) -> list[int]:
        """Return how many copies lie in each stack, those that fill it up included."""
        least = 1 if self.chunk == 1 else 2  # see ``Replicas``
        sizes = [max(least, len(part)) for part in partition(members, self.chunk)]
        return [-(-size // self.spare) * self.spare for size in sizes]

    def sentence(self) -> str:
        """Return the choice in words, with what was measured."""
        measured = ", ".join(f"{name} {ms:g} ms" for name, ms in self.timings.items())
        stack = f", stacks of at most {self.chunk}" if self.chunk > 1 else ""
        times = f"; a step of all replicas takes: {measured}" if measured else ""
        return f"driver {self.driver.name} ({self.driver.mode}{stack}): {self.reason}{times}"

    def facts(self) -> dict[str, Any]:
        """Return what belongs in the run's fingerprint."""
        return {
            "driver": self.driver.name,
            "mode": self.driver.mode,
            "chunk": self.chunk,
            "spare": self.spare,
            "driver_reason": self.reason,
            "driver_timings_ms": self.timings,
        }
