"""One condition after the other, in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from wingbeat.errors import RequestError
from wingbeat.study.condition import Condition
from wingbeat.study.ledger import Record
from wingbeat.study.runner.registry import runner

if TYPE_CHECKING:
    from wingbeat.study.runner.protocol import Work


class InlineRunner:
    """Does one condition after the other in this process.

    A condition that ends its process ends this one: use another runner for code that may crash.

    Example:
        >>> work = lambda condition: Record(condition.key, "done")
        >>> [r.status for r in InlineRunner().map(work, [Condition("m:f")])]
        ['done']
    """

    workers = 1

    def map(self, work: Work, conditions: Iterable[Condition]) -> Iterator[Record]:
        """Yield the records in order."""
        return (work(condition) for condition in conditions)


@runner("inline", takes=("workers",), caption="One after the other, in this process.", at_a_time=1)
def make_inline(workers: int | None = None) -> InlineRunner:
    """Return the runner of this process.

    Raises:
        RequestError: more than one worker.
    """
    if workers not in (None, 1):
        raise RequestError(f"workers is {workers}: 'inline' has one; choose 'processes'")
    return InlineRunner()
