"""Several runs of one recipe: their table, the curve of a metric, its value at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite, nan, sqrt
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from wingbeat.analyses.logged_runs.one_run import HIGHEST, LAST, LOWEST, At
from wingbeat.analyses.logged_runs.recipes import RecipeComparison, compare_ends, direction
from wingbeat.errors import RequestError, nearest

if TYPE_CHECKING:
    from wingbeat.analyses.logged_runs.one_run import LoggedRun
    from wingbeat.typing import Array


@dataclass(frozen=True)
class LoggedRuns:
    """Runs of one recipe, one a seed.

    Attributes:
        runs: name, tracker, seed and values of each.
        notes: which files were left out, and why.
    """

    runs: tuple[LoggedRun, ...] = field(repr=False)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return how many runs there are."""
        return len(self.runs)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of metrics, those of most runs first."""
        count: dict[str, int] = {}
        for run in self.runs:
            for name in run.values:
                count[name] = count.get(name, 0) + 1
        return tuple(sorted(count, key=lambda name: (-count[name], name)))

    @property
    def table(self) -> pd.DataFrame:
        """All values, tidy: run, seed, tracker, metric, step, value."""
        rows = [
            (run.name, run.seed, run.tracker, metric, step, value)
            for run in self.runs
            for metric, values in run.values.items()
            for step, value in sorted(values.items())
        ]
        columns = ["run", "seed", "tracker", "metric", "step", "value"]
        return pd.DataFrame(rows, columns=columns).astype({"seed": "Int64"})

    def having(self, metric: str) -> tuple[LoggedRun, ...]:
        """Return the runs that logged a metric.

        Raises:
            RequestError: none did, or two trackers did: a run would count twice.
        """
        found = tuple(run for run in self.runs if metric in run.values)
        if not found:
            raise RequestError(f"no run logged {metric!r}: {nearest(metric, self.metrics)}")
        trackers = sorted({run.tracker for run in found})
        if len(trackers) > 1:
            msg = (
                f"{metric!r} was logged by {' and by '.join(trackers)}: name one (tracker=), or a "
                "run that both logged counts twice"
            )
            raise RequestError(msg)
        return found

    def curve(self, metric: str, *, level: float = 0.95) -> pd.DataFrame:
        """Return mean, interval and band of a metric over training.

        Args:
            metric: its name.
            level: nominal coverage of each step alone, not of the whole curve.

        Returns:
            A row for each step: ``step``, ``n`` runs that logged it, ``mean``, ``sd`` over runs,
            ``low`` and ``high`` of the mean (Student), ``band_low`` and ``band_high`` for one
            further run (mean ± t·sd·√(1 + 1/n)). NaN where fewer than two runs logged it.
        """
        values: dict[int, list[float]] = {}
        for run in self.having(metric):
            for step, value in run.values[metric].items():
                values.setdefault(step, []).append(value)
        rows = [_row(step, np.array(found), level) for step, found in sorted(values.items())]
        names = ["step", "n", "mean", "sd", "low", "high", "band_low", "band_high"]
        return pd.DataFrame(rows, columns=names)

    def ends(self, metric: str, at: At = LAST) -> pd.DataFrame:
        """Return one value of each run: ``run``, ``seed``, ``step``, ``value``.

        Args:
            metric: its name.
            at: "last", which must be the same step in all runs, a step, or "lowest" and "highest":
                the best over training, which flatters the recipe that is evaluated more often.

        Raises:
            RequestError: runs ended at different steps, or did not log that step.
        """
        found = self.having(metric)
        rows = [(run.name, run.seed, *_end(run, metric, at)) for run in found]
        table = pd.DataFrame(rows, columns=["run", "seed", "step", "value"])
        if at == LAST and len(set(table["step"])) > 1:
            early = table[table["step"] < table["step"].max()].iloc[0]
            msg = (
                f"{early['run']} logged {metric!r} last at step {early['step']}, others at "
                f"{table['step'].max()}: leave it out, or choose a step that all have (at=)"
            )
            raise RequestError(msg)
        return table.astype({"seed": "Int64"})

    def against(
        self,
        other: LoggedRuns,
        metric: str | None = None,
        *,
        at: At = LAST,
        paired: bool | None = None,
        gain: float | None = None,
        better: str | None = None,
        level: float = 0.95,
    ) -> RecipeComparison:
        """Tell whether these runs are better than others, or whether it is the seed.

        The other runs are recipe A, these are recipe B: see `compare_recipes`.
        """
        return compare_recipes(
            other, self, metric, at=at, paired=paired, gain=gain, better=better, level=level
        )


def compare_recipes(
    a: LoggedRuns,
    b: LoggedRuns,
    metric: str | None = None,
    *,
    at: At = LAST,
    paired: bool | None = None,
    gain: float | None = None,
    better: str | None = None,
    level: float = 0.95,
) -> RecipeComparison:
    """Tell whether recipe B is better than A, or whether it is the seed.

    Coverage of the interval, measured with 4,000 trials each (tests/logged_runs): see
    docs/seeds.md.

    Args:
        a: runs of recipe A.
        b: of recipe B.
        metric: its name; None where both logged a single common one.
        at: "last", a step, "lowest" or "highest": see `LoggedRuns.ends`.
        paired: subtract runs of equal seed first; None does so where all seeds are known, distinct
            and the same for both. What the values are plays no part in that choice.
        gain: the smallest difference worth finding, in the metric's unit, for power and number of
            runs; None takes the measured difference for the number of runs.
        better: "lower" or "higher"; None goes by the metric's name (loss, accuracy, …).
        level: nominal coverage of the interval.

    Raises:
        RequestError: no such metric, no common one or several, runs that ended at different
            steps, pairs that cannot be formed, or numbers out of range.
    """
    if not 0.0 < level < 1.0:
        raise RequestError(f"level is {level!r}; give a share between 0 and 1, such as 0.95")
    if better not in (None, "lower", "higher"):
        raise RequestError(f"better is {better!r}: use 'lower' or 'higher'")
    if gain is not None and not (isfinite(gain) and gain != 0.0):
        raise RequestError(f"gain is {gain!r}: give a difference that is not zero")
    name = metric if metric is not None else _only(a, b)
    return compare_ends(
        name,
        a.ends(name, at),
        b.ends(name, at),
        at=str(at),
        paired=paired,
        gain=gain,
        better=better or direction(name),
        level=level,
        notes=(*a.notes, *b.notes),
    )


def _only(first: LoggedRuns, second: LoggedRuns) -> str:
    shared = [name for name in first.metrics if name in second.metrics]
    if len(shared) != 1:
        told = f"several metrics ({', '.join(shared[:8])})" if shared else "no metric"
        raise RequestError(f"both recipes logged {told}: name one (metric=)")
    return shared[0]


def _end(run: LoggedRun, metric: str, at: At) -> tuple[int, float]:
    values = run.values[metric]
    if at == LAST:
        step = max(values)
    elif at in (LOWEST, HIGHEST):
        usable = [s for s in values if isfinite(values[s])] or list(values)
        step = (min if at == LOWEST else max)(usable, key=lambda s: values[s])
    elif isinstance(at, int) and at in values:
        step = at
    elif isinstance(at, int):
        near = min(values, key=lambda s: abs(s - at))
        raise RequestError(f"{run.name} logged no {metric!r} at step {at}: the nearest is {near}")
    else:
        raise RequestError(f"at is {at!r}: use {LAST!r}, {LOWEST!r}, {HIGHEST!r} or a step")
    return step, values[step]


def _row(step: int, values: Array, level: float) -> tuple[float, ...]:
    n, mean = len(values), float(values.mean())
    if n < 2:
        return (step, n, mean, nan, nan, nan, nan, nan)
    sd = float(values.std(ddof=1))
    times = float(stdtrit(n - 1, 0.5 + level / 2.0))
    half, band = times * sd / sqrt(n), times * sd * sqrt(1.0 + 1.0 / n)
    return (step, n, mean, sd, mean - half, mean + half, mean - band, mean + band)
