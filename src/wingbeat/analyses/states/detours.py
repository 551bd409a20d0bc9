"""Does a way through a state that others skip cost time? A test that can say no.

Published: a state is a detour if some runs converge without it and its occupancy has a positive
coefficient in a regression of the time to converge. Occupancy covers the time after convergence
too, and who converges late has more time to visit. Here a state must be visited before anybody has
converged, lie on a fork, and be followed by later convergence in an exact permutation test.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from scipy.stats import rankdata

from wingbeat.analyses.states.fitted import edges
from wingbeat.errors import NOT_REACHED, UNDECIDED, RequestError
from wingbeat.stats import holm
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from wingbeat.analyses.states.fitted import FittedStates

Verdict = Literal["detour", "no detour", "undetermined"]
LEVEL: Final = 0.05
STAY: Final = 3
"""Recorded steps that a visit lasts at least."""
EXACT: Final = 20_000
"""Divisions of the runs up to which all are enumerated."""
DRAWS: Final = 9_999
"""Random divisions beyond; the observed one counts as one more."""


@dataclass(frozen=True)
class Detour:
    """The verdict on one optional state.

    Attributes:
        state: its number.
        verdict: "detour" (later convergence), "no detour", or "undetermined".
        through: runs that visit it up to the landmark.
        around: runs that do not.
        delay: median time to converge of those through it less that of the others, in steps.
        p: one-sided, corrected by Holm's method over the optional states; NaN where not tested.
        reason: why it is undetermined.
    """

    state: int
    verdict: Verdict
    through: int
    around: int
    delay: float = float("nan")
    p: float = float("nan")
    reason: str = ""


def detours(
    fitted: FittedStates, converged: Array, *, least: int = 3, level: float = LEVEL, seed: int = 0
) -> tuple[Detour, ...]:
    """Return the verdict on every optional state.

    Args:
        fitted: states of R runs.
        converged: (R,): the step at which each run converged; infinite for one that did not.
        least: runs on each side, at least.
        level: of the test.
        seed: of random divisions where there are too many to enumerate.

    Returns:
        One `Detour` for each optional state. "no detour" needs the test to have been made and not
        to reject; it is then not shown that there is none, only that these runs show none. A state
        that is first visited after the earliest convergence is undetermined (``undecided``), as is
        one off every fork or with too few runs on one side; all are (``not_reached``) where no run
        converged.

    Raises:
        RequestError: not one time for each run.

    >>> from wingbeat.analyses.states.detours import p_value
    >>> p_value(np.array([9.0, 8.0, 7.0, 3.0, 2.0, 1.0]), np.array([True] * 3 + [False] * 3))
    0.05
    """
    times = np.asarray(converged, dtype=np.float64)
    if times.shape != (len(fitted.paths),):
        raise RequestError(f"converged has shape {times.shape}: give one step for each run")
    steps = np.asarray(fitted.series.steps)
    if not np.isfinite(times).any():
        return tuple(Detour(k, "undetermined", 0, 0, reason=NOT_REACHED) for k in fitted.optional)
    # A run that never converged did so later than all others: where, the median need not know.
    late = np.where(np.isfinite(times), times, steps[-1] + 1.0)
    before = steps < late.min()
    found = [_tested(fitted, k, late, before, least, seed) for k in fitted.optional]
    corrected = holm(np.array([one.p for one in found]))
    return tuple(_judged(one, float(p), level) for one, p in zip(found, corrected, strict=True))


def _tested(
    fitted: FittedStates,
    state: int,
    times: Array,
    before: NDArray[np.bool_],
    least: int,
    seed: int,
) -> Detour:
    through = (fitted.paths[:, before] == state).sum(axis=1) >= STAY
    sides = (int(through.sum()), int((~through).sum()))
    # Those that visit it later only are on neither side: they would be called too early.
    if min(sides) < least or not on_fork(fitted.paths, state):
        return Detour(state, "undetermined", *sides, reason=UNDECIDED)
    delay = float(np.median(times[through]) - np.median(times[~through]))
    return Detour(state, "no detour", *sides, delay, p_value(times, through, seed=seed))


def _judged(one: Detour, p: float, level: float) -> Detour:
    if one.verdict == "undetermined":
        return one
    verdict: Verdict = "detour" if p <= level and one.delay > 0 else "no detour"
    return Detour(one.state, verdict, one.through, one.around, one.delay, p)


def on_fork(paths: NDArray[np.int64], state: int) -> bool:
    """Tell whether a way past a state occurs: a → state → b, and also a → b.

    >>> on_fork(np.array([[0, 1, 2], [0, 2, 2]]), 1), on_fork(np.array([[0, 1, 2], [0, 1, 1]]), 1)
    (True, False)
    """
    taken = edges(paths)
    into = [a for a, b in taken if b == state]
    out = [b for a, b in taken if a == state]
    return any((a, b) in taken for a in into for b in out if a != b)


def p_value(times: Array, through: NDArray[np.bool_], *, seed: int = 0) -> float:
    """Return how often a random division has mean ranks at least as far apart, one-sided.

    Ranks, since medians of few runs take few values: 3 runs against 3 could never be told apart.

    Exact where the divisions can be enumerated; else with the observed one among random ones, so
    that it is at most α with probability at most α.
    """
    n, chosen = len(times), int(through.sum())
    ranks = rankdata(times)
    observed = _gap(ranks, through)
    exact = comb(n, chosen) <= EXACT
    drawn = np.array([_gap(ranks, mask) for mask in _divisions(n, chosen, exact, seed)])
    hits = int((drawn >= observed - 1e-9).sum())
    return hits / len(drawn) if exact else (hits + 1) / (len(drawn) + 1)


def _divisions(n: int, chosen: int, exact: bool, seed: int) -> Iterator[NDArray[np.bool_]]:
    if exact:
        for places in combinations(range(n), chosen):
            mask = np.zeros(n, dtype=bool)
            mask[list(places)] = True
            yield mask
        return
    generator = np.random.default_rng(seed)
    start = np.arange(n) < chosen
    for _ in range(DRAWS):
        yield generator.permutation(start)


def _gap(ranks: Array, through: NDArray[np.bool_]) -> float:
    return float(ranks[through].mean() - ranks[~through].mean())
