"""Which updates of a training run an exponent is measured over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wingbeat.errors import RequestError

if TYPE_CHECKING:
    from wingbeat.task.task import Task


@dataclass(frozen=True)
class TangentWindow:
    """A stretch of a run.

    Attributes:
        warmup: updates before the tangents start.
        discard: further updates in which they turn into place and nothing is counted.
        steps: updates in all, the counted ones last.
        every: updates between two orthonormalisations.

    >>> TangentWindow(10, 5, 22, 3).lengths
    (3, 3, 1)
    """

    warmup: int
    discard: int
    steps: int
    every: int

    @property
    def first(self) -> int:
        """Index of the first counted update."""
        return self.warmup + self.discard

    @property
    def lengths(self) -> tuple[int, ...]:
        """Updates in each counted interval."""
        return self._cut(self.steps - self.first)

    @property
    def discarded(self) -> tuple[int, ...]:
        """Updates in each interval that is not counted."""
        return self._cut(self.discard)

    def _cut(self, steps: int) -> tuple[int, ...]:
        whole, rest = divmod(steps, self.every)
        return (self.every,) * whole + ((rest,) if rest else ())


def window_of(
    task: Task, *, warmup: int, discard: int, steps: int | None, every: int
) -> TangentWindow:
    """Check a request and return its window.

    Raises:
        RequestError: a number is out of range; with the value and the range.

    >>> from wingbeat.tasks.dense import circles_task
    >>> window_of(circles_task(), warmup=10, discard=0, steps=None, every=1).steps
    320
    """
    last = task.steps if steps is None else steps
    _count("steps", last, 1, task.steps, f"the task has {task.steps} steps")
    _count("warmup", warmup, 0, last - 1, f"there are {last} steps in all and one must be left")
    room = last - 1 - warmup
    _count(
        "discard", discard, 0, room, f"of {last} steps {warmup} are warm-up and one must be left"
    )
    _count("every", every, 1, last, "it is the number of steps between orthonormalisations")
    return TangentWindow(warmup, discard, last, every)


def _count(name: str, value: Any, least: int, most: int, why: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise RequestError(
            f"{name} is {value!r}: give a whole number from {least} to {most} ({why})"
        )
