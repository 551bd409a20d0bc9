"""What some copies of a condition cost, by short runs, and what follows for more copies."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from wingbeat.execution.progress import Progress
from wingbeat.execution.request import make_request
from wingbeat.execution.session import RunOptions, Session
from wingbeat.replicas.drivers.accelerator import finish
from wingbeat.trajectory.store import MemoryStore
from wingbeat.trajectory.trajectory import Trajectory
from wingbeat.turn import alone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wingbeat.study.condition import Condition
    from wingbeat.task.task import Task

_EVERY: Final = 2
"""Steps between two snapshots of a trial, so that there are steps with one and without."""
_NEVER: Final = 1e9
"""Seconds after which a trial would save a state to go on from."""


class CopiesCost(NamedTuple):
    """What some copies cost: seconds to start, of a step and of a snapshot, and bytes."""

    copies: int
    start: float = 0.0
    step: float = 0.0
    shot: float = 0.0
    snapshot: float = 0.0
    memory: float = 0.0

    def to_measure(self, steps: int) -> float:
        """Return the seconds that a trial of so many steps takes, its metrics included."""
        return 2 * self.start + steps * self.step + (3 + steps // _EVERY) * self.shot

    def plus(self, start: float, shot: float) -> CopiesCost:
        """Return the cost with further metrics."""
        return self._replace(start=self.start + start, shot=self.shot + shot)


def copies_of(condition: Condition) -> int:
    """Return how many copies a condition trains, the reference and its twin included."""
    return 2 + condition.replicas * len(condition.perturbations)


def smaller(condition: Condition, perturbations: int, replicas: int) -> Condition:
    """Return a condition with fewer perturbations, taken evenly, and fewer replicas."""
    given = condition.perturbations
    count = min(perturbations, len(given))
    some = tuple(given[i * len(given) // count] for i in range(count))
    return replace(condition, perturbations=some, replicas=min(replicas, condition.replicas))


def line(costs: Sequence[CopiesCost], copies: int) -> CopiesCost:
    """Return the cost of more copies, in a straight line through the last two that are known.

    With one point alone all grows with the copies besides the reference, as metrics do, which says
    too much rather than too little; memory stays, for most of it is what was loaded.

    >>> line([CopiesCost(3, step=1.0), CopiesCost(5, step=2.0)], 9).step
    4.0
    """
    last = costs[-1]
    if copies <= last.copies:
        return last
    before = costs[-2] if len(costs) > 1 else CopiesCost(1, memory=last.memory)
    share = (copies - last.copies) / (last.copies - before.copies)
    values = (b + share * max(0.0, b - a) for a, b in zip(before[1:], last[1:], strict=True))
    return CopiesCost(copies, *values)


class FirstSteps:
    """A few steps of a condition, trained once and measured as often as is asked for.

    Args:
        condition: what is trained; its perturbations are made at the start.
        task: its task.
        steps: how many.
    """

    def __init__(self, condition: Condition, task: Task, steps: int) -> None:
        forks = tuple({**p, "at": 0} if "at" in p else p for p in condition.perturbations)
        request = make_request(
            replace(task, steps=steps),
            replace(condition, perturbations=forks).forks(),
            replicas=condition.replicas,
            record_every=_EVERY,
            metrics=condition.metrics,
            dtype=condition.torch_dtype,
            device=condition.device,
        ).with_seed(condition.seeds[0])
        options = RunOptions(condition.driver, condition.compiling, _NEVER)
        with alone(), Progress(False) as bar:
            begin = time.perf_counter()
            self.session = Session(request, options, None, bar)
            self.all, self.ends = self.session.trajectory, MemoryStore()
            self._stamps = self._trained()
        for step in (0, steps):
            self.ends.append(self.all.at(step))
        self._start = self._stamps[0] - begin

    def _trained(self) -> dict[int, float]:
        """Train, and return when each step was done."""
        session, stamps = self.session, {}
        with session.surroundings():
            for _ in session.training():
                finish(session.request.device)
                assert session.course is not None
                stamps[session.course.done] = time.perf_counter()
        return stamps

    def cost(self) -> CopiesCost:
        """Return what training costs, and the metrics that the condition was given."""
        took = [max(0.0, b - a) for a, b in pairwise(self._stamps.values())]
        step = median(took[::_EVERY][1:] or took)  # those without a snapshot
        written = max(0.0, median(took[_EVERY - 1 :: _EVERY] or [0.0]) - step)
        wanted = self.session.request.metrics
        whole, shot = self.of_metrics(wanted, each_moment=False)
        last = self.all.at(self.all.steps[-1])
        size = sum(t.nbytes for own in (last.params, last.buffers) for t in own.values())
        copies = len(last.labels)
        return CopiesCost(copies, self._start + whole, step, shot + written, size, resident())

    def of_metrics(self, metrics: Sequence[str], *, each_moment: bool) -> tuple[float, float]:
        """Return the seconds that metrics take for a run, and for each snapshot besides.

        Args:
            metrics: their names.
            each_moment: whether they are known to take all their time at snapshots.
        """
        few = self._seconds(Trajectory(self.ends), metrics)
        ends, between = len(self.ends.steps()), len(self.all.steps)
        if each_moment:
            return 0.0, few / ends
        if between == ends:
            return few, 0.0
        more = self._seconds(self.all, metrics)
        shot = max(0.0, more - few) / (between - ends)
        return max(0.0, few - ends * shot), shot

    def _seconds(self, moments: Trajectory, metrics: Sequence[str]) -> float:
        session = self.session
        session.trajectory = moments
        session.request = replace(session.request, metrics=tuple(metrics))
        begin = time.perf_counter()
        with alone():
            session.result()
        return time.perf_counter() - begin


def resident() -> float:
    """Return the largest size of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak * (1 if sys.platform == "darwin" else 1024))
