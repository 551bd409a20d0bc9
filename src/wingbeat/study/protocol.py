"""What a runner is: the few lines of contract that every one of them keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from wingbeat.study.condition import Condition
from wingbeat.study.ledger import Record

Work = Callable[[Condition], Record]
"""Does one condition. It catches the errors of the work and returns them in the record."""


class Runner(Protocol):
    """Maps work over conditions."""

    def map(self, work: Work, conditions: Iterable[Condition]) -> Iterator[Record]:
        """Yield one record for each condition, in the order in which they end.

        A condition whose process died gives a record with the status "died", and the others go
        on. A runner takes a condition when it has room for it, not all at once: a study that has
        used up its time ends the iterable early. Closing the iterator ends what is under way.
        """
        ...
