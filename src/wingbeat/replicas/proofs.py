"""When a recorded step is compared with the step itself: at fixed places and now and then."""

from __future__ import annotations

import time

# Share of the time that random proofs may take; those at fixed places come on top.
_SHARE = 0.02


class Proofs:
    """The steps at which a run in lock step is proven.

    Fixed are the second step (another batch than the recorded one), the first of the second
    epoch and the last of all; between them as many as take a fiftieth of the time.

    Args:
        steps: length of the run.
        steps_per_epoch: of its data.

    Attributes:
        runs: how many runs advance in turn in the time that passes, each with proofs of its own.

    Example:
        >>> [i for i in range(100) if Proofs(100, 30).due(i)]
        [1, 30, 99]
    """

    def __init__(self, steps: int, steps_per_epoch: int) -> None:
        self._fixed = frozenset({1, steps_per_epoch, steps - 1})
        self._begin = time.perf_counter()
        self._spent, self._cost = 0.0, float("inf")
        self.runs = 1

    def due(self, index: int) -> bool:
        """Tell whether to prove step ``index``."""
        if index in self._fixed:
            return True
        now = time.perf_counter()
        return _SHARE * (now - self._begin) / self.runs >= self._spent + self._cost

    def took(self, seconds: float) -> None:
        """Count what a proof took."""
        self._cost = seconds
        self._spent += seconds
