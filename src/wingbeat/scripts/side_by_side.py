"""Several scripts at a time on this machine: each is a process of its own already."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from wingbeat.arguments import whole_number
from wingbeat.study.ledger import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from wingbeat.scripts.script_run import ScriptRun, Started
    from wingbeat.study.condition import Condition

_SHORTEST, _LONGEST = 0.01, 0.05
"""Seconds between two looks at the scripts: longer the longer nothing has ended."""


class SideBySide:
    """Run scripts side by side; all end when the iteration does.

    Args:
        jobs: how many at a time.
        devices: given to the places in turn as ``CUDA_VISIBLE_DEVICES``; none leaves it as it is.

    Raises:
        RequestError: fewer than one at a time.
    """

    def __init__(self, jobs: int = 1, devices: Sequence[str] = ()) -> None:
        self.jobs, self.devices = whole_number(jobs, "jobs"), tuple(devices)

    def map(self, work: ScriptRun, conditions: Iterable[Condition]) -> Iterator[Record]:
        """Yield the records as they come."""
        running: dict[int, Started] = {}
        waiting, pause = iter(conditions), _SHORTEST
        try:
            while True:
                for place in sorted(set(range(self.jobs)) - set(running)):
                    if (condition := next(waiting, None)) is None:
                        break
                    try:
                        running[place] = work.begin(condition, self._device(place))
                    except OSError as error:
                        yield Record(condition.key, "failed", str(error))
                if not running:
                    return
                ended = {p: r for p, one in running.items() if (r := one.look()) is not None}
                for place, record in ended.items():
                    del running[place]
                    yield record
                pause = _SHORTEST if ended else min(1.5 * pause, _LONGEST)
                time.sleep(0 if ended else pause)
        finally:
            for started in running.values():
                started.stop()

    def _device(self, place: int) -> str | None:
        return self.devices[place % len(self.devices)] if self.devices else None
