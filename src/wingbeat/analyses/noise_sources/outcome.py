"""What the sources of noise came to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from wingbeat.analyses.noise_sources.power import (
    Difference,
    SeedPlan,
    binomial_floor,
    differ,
    plan_seeds,
)
from wingbeat.brief import brief
from wingbeat.errors import DIVERGED, NO_VARIATION, TOO_FEW_REPLICAS, RequestError, nearest
from wingbeat.metrics import gram, spread_interval
from wingbeat.stats import Estimate
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor


WEIGHTS = "weights"
"""The quantity that is the summed variance of all trainable weights."""
_LARGEST_OF_SHARE: Final = 0.25
"""Variance of what is 0 as often as 1: no share varies more (Popoviciu's inequality)."""


@dataclass(frozen=True)
class NoiseSources:
    """Variance of what a run ends with, by source of noise.

    Attributes:
        table: a row for each source and quantity: source, quantity, n, mean, variance (ddof 1),
            low, high (its interval), sd, share, reason, statement. ``share`` is the
            variance as a share of the sum over the sources named (without "all"). The sources do
            not add up: after enough steps each alone may cause nearly all of the variance, so
            compare a source with "all" too. ``statement`` says in words why a variance is 0.
        values: the measured values: source, replica, quantity, value.
        floor: variance of accuracy that the finite test set alone explains, error ÷ (2·samples),
            by Jordan; NaN without accuracy.
        noise_floor: distance of the unperturbed twin from the reference.
        warnings: what to read before any number.
        condition: what was asked.
        environment: how it was executed.
        folder: where it lies on disk, or None.
    """

    table: pd.DataFrame
    values: pd.DataFrame = field(repr=False)
    floor: float
    noise_floor: float
    warnings: tuple[str, ...]
    condition: dict[str, Any] = field(repr=False)
    environment: dict[str, Any] = field(repr=False)
    folder: Path | None = None

    __repr__ = brief

    def row(self, source: str, quantity: str) -> pd.Series[Any]:
        """Return one row of the table.

        Raises:
            RequestError: there is none; the message suggests the nearest name.
        """
        for name, column in ((source, "source"), (quantity, "quantity")):
            known = set(self.table[column])
            if name not in known:
                raise RequestError(f"no {column} {name!r}: {nearest(name, known)}")
        found = self.table[(self.table.source == source) & (self.table.quantity == quantity)]
        return found.iloc[0]

    def of(self, source: str, quantity: str) -> Array:
        """Return the values of one source's replicas, for `differ` or a plot."""
        v = self.values
        own = v[(v.source == source) & (v.quantity == quantity)]
        return own.value.to_numpy(dtype=np.float64)

    def seeds_needed(
        self, gain: float, source: str, quantity: str = "accuracy", **options: float
    ) -> SeedPlan:
        """Return the runs of each recipe that detect a gain, by this source's spread and doubt."""
        row = self.row(source, quantity)
        sd, low, high = (float(x) ** 0.5 for x in (row.variance, row.low, row.high))
        return plan_seeds(sd, low, high, gain, **options)

    def differ(
        self, other: NoiseSources, source: str, quantity: str = "accuracy", *, level: float = 0.95
    ) -> Difference:
        """Compare the same quantity of another recipe, over its own seeds."""
        return differ(self.of(source, quantity), other.of(source, quantity), level=level)

    def to_json(self) -> dict[str, Any]:
        """Return everything but condition and environment, JSON-safe."""
        return {
            "table": json.loads(self.table.to_json(orient="records", double_precision=15)),
            "values": json.loads(self.values.to_json(orient="records", double_precision=15)),
            "floor": self.floor if np.isfinite(self.floor) else None,
            "noise_floor": self.noise_floor,
            "warnings": list(self.warnings),
            "folder": None if self.folder is None else str(self.folder),
        }


@dataclass(frozen=True)
class Sample:
    """What the replicas of one source ended with.

    Attributes:
        scalars: values by quantity, each (N,).
        weights: trainable tensors by name, each (N, …).
        statement: why there is no variance, or "".
    """

    scalars: Mapping[str, Array]
    weights: Mapping[str, Tensor]
    statement: str = ""


def variance(values: Array, *, share: bool = False) -> Estimate:
    """Return the variance over N runs (ddof 1) with its interval.

    Args:
        values: one a run.
        share: whether they lie in [0, 1], as an accuracy does. Runs that all gave the same share
            then still bound the variance: if a run differs from the others with probability p,
            it is at most p·(1 − p), and p is below Clopper and Pearson's limit for none of N − 1.
            No share has a variance above 1/4.

    >>> variance(np.array([1.0, 2.0, 3.0])).value
    1.0
    >>> none_seen = variance(np.array([0.9] * 6), share=True)
    >>> none_seen.value, round(none_seen.high, 3)
    (0.0, 0.25)
    """
    x = np.asarray(values, dtype=np.float64)
    found = _variance(
        np.outer(x - x.mean(), x - x.mean()) if np.ptp(x) else np.zeros((len(x),) * 2)
    )
    if not share:
        return found
    if found.interval_reason != NO_VARIATION:
        return replace(found, high=min(found.high, _LARGEST_OF_SHARE))  # NaN stays NaN
    differs = min(0.5, 1.0 - 0.025 ** (1.0 / (len(x) - 1)))
    return Estimate(0.0, 0.0, differs * (1.0 - differs))


def total_variance(weights: Mapping[str, Tensor]) -> Estimate:
    """Return the variance over N runs (ddof 1), summed over all weights, with its interval.

    >>> import torch
    >>> total_variance({"w": torch.tensor([[0.0, 1.0], [2.0, 1.0]])}).value
    2.0
    """
    blocks = [t.reshape(len(t), -1) for t in weights.values()]
    return _variance(np.asarray(gram(blocks)))


def _variance(g: Array) -> Estimate:
    """Return the summed variance from the Gram matrix of centred points."""
    n = len(g)
    if not np.isfinite(g).all():
        return Estimate.undefined(DIVERGED)
    if n < 2:
        return Estimate.undefined(TOO_FEW_REPLICAS)
    if not g.any():
        return Estimate(0.0, interval_reason=NO_VARIATION)
    return spread_interval(g, power=2.0)


def tables(samples: Mapping[str, Sample]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows by source and quantity, and the values."""
    quantities = list(dict.fromkeys(q for s in samples.values() for q in s.scalars))
    rows, values = [], []
    for source, sample in samples.items():
        rows += [_row(source, quantity, sample) for quantity in [*quantities, WEIGHTS]]
        for quantity, found in sample.scalars.items():
            values += [
                {"source": source, "replica": i + 1, "quantity": quantity, "value": float(v)}
                for i, v in enumerate(found)
            ]
    table = pd.DataFrame(rows)
    table.insert(7, "share", _shares(table))
    return table, pd.DataFrame(values, columns=["source", "replica", "quantity", "value"])


def _row(source: str, quantity: str, sample: Sample) -> dict[str, Any]:
    mean, found = np.nan, Estimate(0.0, 0.0, 0.0)
    values = sample.scalars.get(quantity, np.zeros(0))
    count = len(next(iter(sample.weights.values()), values))
    if count and quantity == WEIGHTS:
        found = total_variance(sample.weights)
    elif count:
        finite = bool(np.isfinite(values).all()) and len(values) > 0
        mean = float(values.mean()) if finite else np.nan
        share = quantity == "accuracy"
        found = variance(values, share=share) if finite else Estimate.undefined(DIVERGED)
    elif not sample.statement:
        found = Estimate.undefined(TOO_FEW_REPLICAS)
    return {
        "source": source,
        "quantity": quantity,
        "n": count,
        "mean": mean,
        "variance": found.value,
        "low": found.low,
        "high": found.high,
        "sd": float(np.sqrt(found.value)),
        "reason": found.reason,
        "interval_reason": found.interval_reason,
        "statement": sample.statement,
    }


def _shares(table: pd.DataFrame) -> pd.Series[float]:
    """Return each source's part of the sum over sources; NaN for "all" and where that is 0."""
    single = table.variance.where(table.source != "all")
    sums = single.groupby(table.quantity).transform("sum")
    return (single / sums).where(sums > 0)


def accuracy_floor(values: pd.DataFrame, samples: int, sources: Sequence[str]) -> float:
    """Return Jordan's variance of accuracy at the mean error of the given sources."""
    own = values[(values.quantity == "accuracy") & values.source.isin(list(sources))]
    if own.empty or not np.isfinite(own.value).all():
        return float("nan")
    return binomial_floor(1.0 - float(own.value.mean()), samples)
