"""Many runs as sequences of the same statistics, on one scale."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np

from wingbeat.errors import RequestError
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from wingbeat.execution.result import Result

Standardise = Literal["pooled", "run", "none"]
"""One mean and variance for all runs and times; for each run its own, as published, which invents
forks: the later a run switches, the other its values before and after; or as they are."""


class Scale(NamedTuple):
    """How values were standardised: how, and mean and deviation of each statistic that is left.

    ``mean`` and ``deviation`` are (1, 1, D) where they are of all runs; () where each has its own.
    """

    how: Standardise
    mean: Array
    deviation: Array


@dataclass(frozen=True)
class RunSeries:
    """R runs of D statistics at T recorded steps.

    Attributes:
        runs: R names.
        names: D statistics.
        steps: T recorded steps.
        values: (R, T, D).
        left_out: statistics that never vary, by name.
        dropped: runs that lack a value somewhere, and which.
        scale: how it was standardised: see `Scale`; None before.
    """

    runs: tuple[str, ...]
    names: tuple[str, ...]
    steps: tuple[int, ...]
    values: Array
    left_out: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    scale: Scale | None = None

    def __post_init__(self) -> None:
        shape = (len(self.runs), len(self.steps), len(self.names))
        if self.values.shape != shape:
            raise RequestError(f"values have shape {self.values.shape}: give {shape}")

    def standardised(self, how: Standardise = "pooled") -> RunSeries:
        """Return the series with mean 0 and variance 1, without statistics that never vary.

        Raises:
            RequestError: an unknown way, or nothing varies.
        """
        if how not in get_args(Standardise):
            raise RequestError(f"standardise is {how!r}: use one of {get_args(Standardise)}")
        axes = (1,) if how == "run" else (0, 1)
        spread = self.values.std(axis=axes, keepdims=True)
        # What is 0 up to rounding is constant: dividing by it would make noise of it.
        size = np.abs(self.values).max(axis=(0, 1), keepdims=True)
        varies = (spread > 1e-12 * np.maximum(size, 1e-300)).all(axis=(0, 1))
        if not varies.any():
            raise RequestError("no statistic varies: there is nothing that states could differ in")
        left = tuple(n for n, v in zip(self.names, varies, strict=True) if not v)
        kept = tuple(n for n, v in zip(self.names, varies, strict=True) if v)
        x, s = self.values[..., varies], spread[..., varies]
        m = x.mean(axis=axes, keepdims=True)
        if how == "none":
            m, s = np.zeros_like(m), np.ones_like(s)
        own = Scale(how, m, s) if how != "run" else Scale(how, np.zeros(0), np.zeros(0))
        gone = (*self.left_out, *left)
        return replace(self, names=kept, values=(x - m) / s, left_out=gone, scale=own)

    def on_scale_of(self, other: RunSeries) -> RunSeries:
        """Return the series with another's statistics, standardised as that one was.

        Runs that were scaled one by one have no scale to share: here too each gets its own. A
        training that still goes on has the first of the steps only; scaled by itself it needs all.

        Raises:
            RequestError: the other is not standardised, or a statistic or step of it is missing.
        """
        steps = other.steps[: len(self.steps)]
        if other.scale is not None and other.scale.how == "run":
            steps = other.steps
        if other.scale is None or set(other.names) - set(self.names) or self.steps != steps:
            raise RequestError(
                "the runs have other statistics or steps than those of the states, or these are "
                "not standardised: measure the same at the same steps"
            )
        x = self.values[..., [self.names.index(name) for name in other.names]]
        mean, deviation = other.scale.mean, other.scale.deviation
        if other.scale.how == "run":
            mean, deviation = x.mean(axis=1, keepdims=True), x.std(axis=1, keepdims=True)
            deviation = np.where(deviation > 0, deviation, 1.0)
        values = (x - mean) / deviation
        return replace(
            self, names=other.names, values=values, left_out=other.left_out, scale=other.scale
        )

    def only(self, runs: Sequence[str]) -> RunSeries:
        """Return some of the runs, in the order that is asked for.

        Raises:
            RequestError: one of them is not there.
        """
        missing = sorted(set(runs) - set(self.runs))
        if missing:
            raise RequestError(f"there are no runs {missing}: see series.runs")
        places = [self.runs.index(run) for run in runs]
        return replace(self, runs=tuple(runs), values=self.values[places])


def series_of(results: Sequence[Result], names: Sequence[str]) -> RunSeries:
    """Return the series of every replica of some results, base seeds and perturbations alike.

    Args:
        results: finished runs that recorded the same steps.
        names: rows of their tables without a layer, one value a replica and step.

    Returns:
        Runs are named ``result/seed/replica``. One that lacks a value (it forked later, or broke
        down) is dropped by name, never silently. The unperturbed twin of a reference is a run too.

    Raises:
        RequestError: a row is missing, or the steps differ.
    """
    parts = [series_of_table(r.table, names, f"{i}/") for i, r in enumerate(results)]
    if not parts or not any(part.runs for part in parts):
        raise RequestError("no run has a value of every statistic at every step")
    if len({part.steps for part in parts}) > 1:
        raise RequestError("the results recorded other steps: give all the same")
    return replace(
        parts[0],
        runs=tuple(run for part in parts for run in part.runs),
        values=np.concatenate([part.values for part in parts]),
        dropped=tuple(run for part in parts for run in part.dropped),
    )


def series_of_table(table: pd.DataFrame, names: Sequence[str], before: str = "") -> RunSeries:
    """Return the series of every replica of one tidy table, as `series_of` does.

    Args:
        table: rows of a run, with a column ``seed`` where there are several base seeds.
        names: rows without a layer, one value a replica and step.
        before: what the names of runs, ``seed/replica``, begin with.

    Returns:
        Without the steps at which no run has a value of some statistic, as of ``train_loss``
        before the first update.

    Raises:
        RequestError: a row is missing.
    """
    own = table[(table["layer"] == "") & table["metric"].isin(names) & (table["a"] == "")]
    missing = sorted(set(names) - set(own["metric"]))
    if missing:
        raise RequestError(f"the result {before or 'given'} has no rows {missing}: measure them")
    seeds = own["seed"] if "seed" in own else np.zeros(len(own), dtype=int)
    steps = tuple(int(s) for s in sorted(set(own["step"])))
    found: dict[str, Array] = {}
    for (seed, label), part in own.groupby([seeds, own["b"]], sort=False):
        wide = part.pivot(index="step", columns="metric", values="value")  # noqa: PD010
        found[f"{before}{seed}/{label}"] = wide.reindex(steps)[list(names)].to_numpy()
    # A loss has no value before the first update: that step is nobody's.
    there = np.isfinite(np.stack(list(found.values())))
    some: Array = np.asarray(np.all(np.any(there, axis=0), axis=1))
    steps = tuple(step for step, kept in zip(steps, some, strict=True) if kept)
    found = {run: x[some] for run, x in found.items()}
    whole = {run: x for run, x in found.items() if np.isfinite(x).all()}
    dropped = tuple(run for run in found if run not in whole)
    values = np.stack(list(whole.values())) if whole else np.zeros((0, len(steps), len(names)))
    return RunSeries(tuple(whole), tuple(names), steps, values, (), dropped)


def converged_steps(
    table: pd.DataFrame, runs: Sequence[str], threshold: float, metric: str = "accuracy"
) -> Array:
    """Return the recorded step at which each run first reaches a threshold, (R,); inf for never.

    Args:
        table: tidy rows of a run.
        runs: named ``seed/replica``, as `series_of_table` names them.
        threshold: that the metric must reach or exceed.
        metric: rows without a layer, one value a replica and step.

    Raises:
        RequestError: a run has no such row.

    Example:
        >>> import pandas as pd
        >>> rows = pd.DataFrame({"metric": "accuracy", "layer": "", "step": [0, 5, 9],
        ...                      "b": "reference", "value": [0.1, 0.95, 0.8]})
        >>> converged_steps(rows, ["0/reference"], 0.9)
        array([5.])
    """
    own = table[(table["layer"] == "") & (table["metric"] == metric)]
    seeds = own["seed"] if "seed" in own else np.zeros(len(own), dtype=int)
    names = [f"{seed}/{label}" for seed, label in zip(seeds, own["b"], strict=True)]
    missing = sorted(set(runs) - set(names))
    if missing:
        raise RequestError(f"there are no rows {metric!r} of {missing}: measure them")
    over = own.assign(run=names)[own["value"].to_numpy() >= threshold]
    first = over.groupby("run")["step"].min()
    return np.array([float(first.get(run, np.inf)) for run in runs])
