"""Many runs as sequences of the same statistics, on one scale."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from wingbeat.errors import RequestError
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wingbeat.execution.result import Result

Standardise = Literal["pooled", "run", "none"]
"""One mean and variance for all runs and times; for each run its own, as published, which invents
forks: the later a run switches, the other its values before and after; or as they are."""


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
    """

    runs: tuple[str, ...]
    names: tuple[str, ...]
    steps: tuple[int, ...]
    values: Array
    left_out: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

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
        scaled = x if how == "none" else (x - x.mean(axis=axes, keepdims=True)) / s
        return replace(self, names=kept, values=scaled, left_out=(*self.left_out, *left))


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
    found: dict[str, Array] = {}
    steps: tuple[int, ...] | None = None
    for number, result in enumerate(results):
        table = result.table
        table = table[(table["layer"] == "") & table["metric"].isin(names) & (table["a"] == "")]
        missing = sorted(set(names) - set(table["metric"]))
        if missing:
            raise RequestError(f"result {number} has no rows {missing}: measure them")
        seeds = table["seed"] if "seed" in table else np.zeros(len(table), dtype=int)
        for (seed, label), own in table.groupby([seeds, table["b"]], sort=False):
            wide = own.pivot(index="step", columns="metric", values="value")
            every = tuple(int(s) for s in sorted(set(table["step"])))
            if steps is not None and every != steps:
                raise RequestError(f"result {number} recorded other steps: give all the same")
            steps = every
            found[f"{number}/{seed}/{label}"] = wide.reindex(steps)[list(names)].to_numpy()
    whole = {run: x for run, x in found.items() if np.isfinite(x).all()}
    if steps is None or not whole:
        raise RequestError("no run has a value of every statistic at every step")
    dropped = tuple(run for run in found if run not in whole)
    return RunSeries(tuple(whole), tuple(names), steps, np.stack(list(whole.values())), (), dropped)
