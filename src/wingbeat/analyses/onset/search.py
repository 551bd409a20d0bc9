"""Which step to try next, and what the verdicts so far say: bisection as pure functions.

The search assumes that stability, once reached, stays. It checks the assumption with one step
inside each side that bisection left unseen, and by the verdicts agreeing in order. The onset is
the first step from which on *all* are stable, so an unstable step above a stable one moves it up.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wingbeat.analyses.onset.decision import Verdict

_MOST_OUTCOMES = 257


@dataclass(frozen=True)
class Bracket:
    """Where the onset lies.

    Attributes:
        low: the last step found unstable; the onset lies above it. None if none was.
        high: the first step from which on all that were tried are stable. None if the last
            candidate is not.
        between: steps between them at which the replicas did not decide.
        against: steps found stable although a later one is unstable: the outcome is not
            monotone, and there may be more crossings than the one that was found.
    """

    low: int | None
    high: int | None
    between: tuple[int, ...] = ()
    against: tuple[int, ...] = ()


def next_step(steps: Sequence[int], verdicts: Mapping[int, Verdict]) -> int | None:
    """Return the candidate to try next, or None when nothing is left to learn.

    Args:
        steps: candidates, ascending.
        verdicts: of those tried so far.

    >>> next_step([0, 10, 20, 30], {}), next_step([0, 10, 20, 30], {30: "stable"})
    (30, 10)
    """
    last = len(steps) - 1
    at = {bisect_left(steps, step): verdict for step, verdict in verdicts.items()}
    if last not in at:
        return steps[last]
    if at[last] != "stable":
        return None
    tried = sorted(at)
    low, high = _edges(at)
    below = max((i for i in tried if i < high), default=-1)
    above = min(i for i in tried if i > low)
    for a, b in ((below, high), (low, above)):
        if b - a > 1:
            return steps[(a + b) // 2]
    if low > 0 and tried[0] == low:
        return steps[0]
    if last - high > 1 and not any(high < i < last for i in tried):
        return steps[(high + last) // 2]
    return None


def bracket(verdicts: Mapping[int, Verdict]) -> Bracket:
    """Return where the onset lies by the verdicts so far.

    >>> bracket({0: "unstable", 10: "undecided", 20: "stable"})
    Bracket(low=0, high=20, between=(10,), against=())
    """
    tried = sorted(verdicts)
    at = {i: verdicts[step] for i, step in enumerate(tried)}
    low, high = _edges(at)
    against = tuple(s for s in tried[: max(low, 0)] if verdicts[s] == "stable")
    return Bracket(
        low=None if low < 0 else tried[low],
        high=None if high == len(tried) else tried[high],
        between=tuple(s for s in tried[low + 1 : high] if verdicts[s] == "undecided"),
        against=against,
    )


def _edges(at: Mapping[int, Verdict]) -> tuple[int, int]:
    """Return the last unstable place (−1: none) and the first from which on all are stable."""
    low = max((i for i, verdict in at.items() if verdict == "unstable"), default=-1)
    high = max(at, default=-1) + 1
    for i in sorted(at, reverse=True):
        if at[i] != "stable":
            break
        high = i
    return low, high


@dataclass(frozen=True)
class Cost:
    """What a search costs, in replica-steps: one update of one replica.

    Attributes:
        reference: training the reference and its twin once.
        least: the cheapest outcome (not stable at the last candidate), the reference included.
        most: the dearest outcome in which every step tried decides and none contradicts.
        bound: every candidate tried: no outcome costs more.
        tries: the smallest and the largest number of steps tried, in such outcomes.
        candidates: how many steps may be tried; the reference is stored at each.
        replicas: forked at each of them, the unperturbed twin not counted.
    """

    reference: int
    least: int
    most: int
    bound: int
    tries: tuple[int, int]
    candidates: int
    replicas: int

    def sentence(self) -> str:
        """Return the cost in words."""
        return (
            f"onset: {self.least:,} to {self.most:,} replica-steps ({self.reference:,} for the "
            f"reference; {self.tries[0]} to {self.tries[1]} of {self.candidates} steps tried with "
            f"{self.replicas} replicas and a twin each); at most {self.bound:,} where replicas do "
            "not decide"
        )


def cost(steps: Sequence[int], length: int, replicas: int) -> Cost:
    """Return what a search over candidates costs in a run of ``length`` updates.

    >>> found = cost([0, 10, 20, 30], 40, 5)
    >>> found.reference, found.least, found.most, found.bound
    (80, 140, 680, 680)
    """
    stride = max(1, -(-(len(steps) + 1) // _MOST_OUTCOMES))
    paths = [_path(steps, k) for k in {*range(0, len(steps) + 1, stride), len(steps)}]
    trying = [sum(_of_trial(step, length, replicas) for step in path) for path in paths]
    counts = [len(path) for path in paths]
    everything = sum(_of_trial(step, length, replicas) for step in steps)
    reference = 2 * length
    return Cost(
        reference=reference,
        least=reference + min(trying),
        most=reference + max(trying),
        bound=reference + everything,
        tries=(min(counts), max(counts)),
        candidates=len(steps),
        replicas=replicas,
    )


def _of_trial(step: int, length: int, replicas: int) -> int:
    return (replicas + 1) * (length - step)


def _path(steps: Sequence[int], onset: int) -> list[int]:
    """Return the steps that are tried if those from place ``onset`` on are stable."""
    verdicts: dict[int, Verdict] = {}
    while (step := next_step(steps, verdicts)) is not None:
        verdicts[step] = "stable" if bisect_left(steps, step) >= onset else "unstable"
    return list(verdicts)
