"""Which steps may be tried, and what trying them costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wingbeat.analyses.onset.search import Cost, cost
from wingbeat.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wingbeat.task.task import Task

CANDIDATES = 64
"""Candidates of a search that does not say how fine it is to be."""


def onset_cost(
    task: Task,
    *,
    replicas: int = 5,
    steps: Sequence[int] | None = None,
    tolerance: int | None = None,
) -> Cost:
    """Return what `find_onset` costs, without computing anything.

    >>> import torch
    >>> from wingbeat.task.task import Task
    >>> task = Task(
    ...     model=lambda: torch.nn.Linear(1, 1),
    ...     loss=lambda model, batch: model(batch[0]).mean(),
    ...     data=(torch.ones(4, 1),),
    ...     optimizer=lambda params: torch.optim.SGD(params, lr=0.1),
    ...     batch_size=4,
    ...     steps=1000,
    ... )
    >>> found = onset_cost(task)
    >>> found.tries, found.least, found.most
    ((1, 8), 2048, 38384)
    """
    return cost(candidate_steps(task.steps, steps, tolerance), task.steps, replicas)


def candidate_steps(
    length: int, steps: Sequence[int] | None, tolerance: int | None
) -> tuple[int, ...]:
    """Return the steps that may be tried, ascending.

    Raises:
        RequestError: both are given, or steps outside of the run.

    >>> candidate_steps(10, None, 4)
    (0, 4, 8)
    """
    if steps is not None and tolerance is not None:
        raise RequestError(f"steps and tolerance ({tolerance}) are both given: give one of them")
    if steps is None:
        spacing = max(1, -(-length // CANDIDATES)) if tolerance is None else tolerance
        if not _whole(spacing) or spacing < 1:
            raise RequestError(f"tolerance is {tolerance!r}: use a whole number of at least 1")
        return tuple(range(0, length, spacing))
    wrong = [s for s in steps if not _whole(s) or not 0 <= s < length]
    if wrong or not len(steps):
        shown = wrong[0] if wrong else "empty"
        raise RequestError(f"steps holds {shown!r}: give whole steps from 0 to {length - 1}")
    return tuple(sorted({int(s) for s in steps}))


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
