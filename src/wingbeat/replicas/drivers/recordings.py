"""Recordings of this process, tried again for every task that takes the same step.

Recording a step takes as long as hundreds of steps of a small network. Base seeds, conditions and
later runs of one task need it once. A recording that is found here is held to the step itself
before it is used, on the state at hand and on the one after it, so that only time depends on what
lies here.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from wingbeat.replicas.drivers.recorded import RecordedStep
from wingbeat.task.step_key import StepKey

if TYPE_CHECKING:
    from collections.abc import Hashable


T = TypeVar("T")
_MOST: Final = 64
"""Recordings that are kept; one holds the shapes of a step, no data, and some tens of kilobytes."""


class Shelf(Generic[T]):
    """The last few things of a kind, by step and shapes.

    Example:
        >>> shelf = Shelf[str](most=1)
        >>> key = StepKey("a step", ())
        >>> shelf.put(key, (2, 3), "recording")
        >>> shelf.find(key, (2, 3)), shelf.find(None, (2, 3))
        ('recording', None)
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._held: OrderedDict[tuple[StepKey, Hashable], T] = OrderedDict()

    def find(self, step: StepKey | None, shapes: Hashable) -> T | None:
        """Return what lies here for a step; nothing for one without a key."""
        if step is None or (step, shapes) not in self._held:
            return None
        self._held.move_to_end((step, shapes))
        return self._held[step, shapes]

    def put(self, step: StepKey | None, shapes: Hashable, thing: T) -> None:
        """Keep something; what was not asked for longest is dropped."""
        if step is None:
            return
        self._held[step, shapes] = thing
        while len(self._held) > self._most:
            self._held.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()


RECORDINGS: Final = Shelf[RecordedStep]()
"""Of this process."""
