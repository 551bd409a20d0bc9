"""What a runner is: it maps work over conditions, in this process or elsewhere.

A runner knows nothing of studies: it maps a picklable function over conditions and yields what
comes back as it comes back. Results of the work itself lie in the study's folder or in an object
store, so a runner on a cluster needs these few lines of contract and nothing else.
``wingbeat.testing.runners`` checks them, for runners of others too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from wingbeat.study.condition import Condition
from wingbeat.study.ledger import Record

Work = Callable[[Condition], Record]
"""Does one condition. It catches the errors of the work and returns them in the record. Where it
has an attribute ``goes_on`` that is False, the same call would begin anew what was stopped."""


class Runner(Protocol):
    """Maps work over conditions."""

    def map(self, work: Work, conditions: Iterable[Condition]) -> Iterator[Record]:
        """Yield one record for each condition, in the order in which they end.

        A condition whose process died gives a record with the status "died", and the others go
        on. A runner takes a condition when it has room for it, not all at once: a study that has
        used up its time ends the iterable early. Closing the iterator ends what is under way.
        """
        ...
