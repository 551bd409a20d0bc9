"""States of many runs: how many, who is where when, and which way leads where."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from wingbeat.analyses.states.hmm import (
    Covariance,
    GaussianStates,
    LostStatesError,
    fit_gaussian,
)
from wingbeat.analyses.states.series import RunSeries, Standardise
from wingbeat.errors import RequestError
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FEWEST_RUNS: Final = 5
"""Runs below which paths of states say nothing about training."""
POINTS_A_STATE: Final = 5
"""Recorded steps for each state, at least."""


@dataclass(frozen=True)
class FittedStates:
    """Hidden states of a series.

    Attributes:
        series: standardised.
        model: the states, numbered by when they occur.
        paths: likeliest state of each run at each step, (R, T).
        selection: a row for each number of states that was tried: training and held-out
            log-likelihood per observation, BIC, spread over restarts, whether it converged.
    """

    series: RunSeries
    model: GaussianStates
    paths: NDArray[np.int64]
    selection: pd.DataFrame

    @property
    def occupancy(self) -> Array:
        """Share of the recorded steps that each run spends in each state, (R, K)."""
        return np.stack([(self.paths == k).mean(axis=1) for k in range(self.model.count)], axis=1)

    @property
    def table(self) -> pd.DataFrame:
        """One row for each run and step: run, step, state, posterior of that state."""
        rows = []
        for run, x, path in zip(self.series.runs, self.series.values, self.paths, strict=True):
            own = self.model.posteriors(x)[np.arange(len(path)), path]
            rows.append(
                pd.DataFrame(
                    {"run": run, "step": self.series.steps, "state": path, "posterior": own}
                )
            )
        return pd.concat(rows, ignore_index=True)

    def follow(self, others: RunSeries) -> NDArray[np.int64]:
        """Return the likeliest states of runs that were not fitted, (R, T): nudged copies, say.

        They are put on the scale of the runs that were fitted. A training that still goes on may
        have the first of the steps only.

        Raises:
            RequestError: they have other statistics or steps.
        """
        ready = others.on_scale_of(self.series)
        return np.stack([self.model.decode(x)[0] for x in ready.values])

    def visits(self, path: NDArray[np.int64]) -> tuple[int, ...]:
        """Return the states of a path in their order, stays taken once."""
        changed = np.flatnonzero(np.diff(path, prepend=-1))
        return tuple(int(s) for s in path[changed])

    @property
    def map(self) -> pd.DataFrame:
        """The training map: a row for each edge that a run takes.

        Columns: ``source``, ``target``, ``runs`` that take it, ``step`` at which on average, and
        ``moved``: the three statistics with the largest influence and the difference of their
        means, in standard deviations.
        """
        taken: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for run, path in enumerate(self.paths):
            for t in np.flatnonzero(np.diff(path)) + 1:
                taken.setdefault((int(path[t - 1]), int(path[t])), []).append((run, int(t)))
        rows = [
            {
                "source": a,
                "target": b,
                "runs": len({run for run, _ in at}),
                "step": float(np.mean([self.series.steps[t] for _, t in at])),
                "moved": self._moved(a, b, at),
            }
            for (a, b), at in sorted(taken.items())
        ]
        return pd.DataFrame(rows, columns=["source", "target", "runs", "step", "moved"])

    def _moved(self, source: int, target: int, at: Sequence[tuple[int, int]]) -> str:
        pulls = [np.abs(self.model.influence(self.series.values[r], target)[t]) for r, t in at]
        order = np.argsort(np.mean(pulls, axis=0))[::-1][:3]
        change = self.model.means[target] - self.model.means[source]
        return ", ".join(f"{self.series.names[i]} {change[i]:+.2f}" for i in order)

    @property
    def optional(self) -> tuple[int, ...]:
        """States that some runs visit and others do not."""
        return self.optional_with(1)

    def optional_with(self, stay: int) -> tuple[int, ...]:
        """Return states in which some runs spend at least so many recorded steps and others none.

        Who is there for fewer counts as neither.

        Raises:
            RequestError: fewer than one step.
        """
        if stay < 1:
            raise RequestError(f"stay is {stay}: use at least 1 recorded step")
        spent = (self.paths[..., None] == np.arange(self.model.count)).sum(axis=1)
        found = (spent >= stay).any(axis=0) & (spent == 0).any(axis=0)
        return tuple(int(k) for k in np.flatnonzero(found))

    @property
    def dissimilarity(self) -> float:
        """Mean total variation between the occupancies of two runs: 0 = all spend alike.

        Unlike a Wasserstein distance over the numbers of states it does not depend on them.
        """
        share = self.occupancy
        i, j = np.triu_indices(len(share), 1)
        return float(0.5 * np.abs(share[i] - share[j]).sum(axis=1).mean()) if len(i) else 0.0

    def disagreement(self, first: str, second: str) -> float:
        """Return the share of steps that two runs spend in different states, 0 for twins."""
        a, b = (self.paths[self._place(name)] for name in (first, second))
        return float(np.mean(a != b))

    def parting(self, first: str, second: str) -> tuple[int, int] | None:
        """Return the step and the state from which on two runs part; None where they never do."""
        a, b = (self.paths[self._place(name)] for name in (first, second))
        apart = np.flatnonzero(a != b)
        if not len(apart):
            return None
        t = int(apart[0])
        return self.series.steps[t], int(a[max(0, t - 1)])

    def _place(self, run: str) -> int:
        if run not in self.series.runs:
            raise RequestError(f"run {run!r} is none of {len(self.series.runs)}: see series.runs")
        return self.series.runs.index(run)


def fit_states(
    series: RunSeries,
    states: Sequence[int] = range(1, 9),
    *,
    covariance: Covariance = "diag",
    standardise: Standardise = "pooled",
    restarts: int = 10,
    held_out: float = 0.2,
    seed: int = 0,
) -> FittedStates:
    """Fit hidden states to many runs, with the number of them chosen by held-out runs.

    Args:
        series: of at least five runs.
        states: numbers of states to try.
        covariance: "diag" or "full".
        standardise: see ``Standardise``.
        restarts: of each fit.
        held_out: share of the runs that the number is chosen on, at least one.
        seed: of restarts and of which runs are held out.

    Returns:
        The number with the smallest BIC on the held-out runs, whose n is their observations,
        fitted again to all runs. BIC prefers more states for smooth curves: a number at the end of
        what was tried says how finely a trend is cut, and ``selection`` shows the missing elbow.

    Raises:
        LostStatesError: no number of states could be fitted.
        RequestError: fewer than five runs (``too_few_seeds``), too few steps for the number of
            states (``too_few_points``), nothing varies, or hmmlearn is not installed.

    Source: arXiv 2308.09543; pooled standardisation is ours.
    """
    runs, most = len(series.runs), max(states)
    if runs < FEWEST_RUNS:
        raise RequestError(f"{runs} runs: states of training need at least {FEWEST_RUNS}")
    if len(series.steps) < POINTS_A_STATE * most:
        raise RequestError(
            f"{len(series.steps)} recorded steps for {most} states: record at least "
            f"{POINTS_A_STATE * most}, or try fewer states"
        )
    ready = series.standardised(standardise)
    order = np.random.default_rng(seed).permutation(runs)
    cut = max(1, round(held_out * runs))
    test, train = ([ready.values[i] for i in part] for part in (order[:cut], order[cut:]))
    options: dict[str, Any] = {"covariance": covariance, "restarts": restarts, "seed": seed}
    selection = pd.DataFrame([_tried(train, test, count, options) for count in states])
    if not np.isfinite(selection["bic"]).any():
        raise LostStatesError(f"no fit of {list(states)} states kept all of them: try fewer")
    best = int(selection["states"].iloc[int(np.nanargmin(selection["bic"]))])
    every = list(ready.values)
    model = fit_gaussian(every, best, **options)
    model = model.ordered(every)
    paths = np.stack([model.decode(x)[0] for x in every])
    return FittedStates(ready, model, paths, selection)


def _tried(
    train: Sequence[Array], test: Sequence[Array], count: int, options: dict[str, Any]
) -> dict[str, Any]:
    """Return the row of a number of states; NaN where no fit kept as many."""
    seen, unseen = (sum(len(x) for x in part) for part in (train, test))
    nothing = dict.fromkeys(("training", "held_out", "bic", "spread"), float("nan"))
    try:
        model = fit_gaussian(train, count, **options)
    except LostStatesError:
        return {"states": count, **nothing, "converged": False}
    score = model.log_likelihood(test)
    return {
        "states": count,
        "training": model.log_likelihood(train) / seen,
        "held_out": score / unseen,
        "bic": -2 * score + model.parameters(options["covariance"]) * np.log(unseen),
        "spread": model.spread,
        "converged": model.converged,
    }


def edges(paths: NDArray[np.int64]) -> Counter[tuple[int, int]]:
    """Return how many runs take each change of state.

    >>> edges(np.array([[0, 0, 1], [0, 2, 1]]))[(0, 1)]
    1
    """
    found: Counter[tuple[int, int]] = Counter()
    for path in paths:
        changed = np.flatnonzero(np.diff(path)) + 1
        found.update({(int(path[t - 1]), int(path[t])) for t in changed})
    return found
