"""From the conditions of the study to architectures and families, each number with an interval.

The base seed is the unit of resampling: every number is first computed within each seed, and
its interval is Student's over seeds. Where a net has fewer than three seeds, the interval of a
ratio is the one over copies within its only seed, and families leave the net out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import nan
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pandas as pd

from wingbeat.errors import BELOW_NOISE_FLOOR, TOO_FEW_SEEDS
from wingbeat.stats import Estimate, Verdict, bootstrap, verdict
from wingbeat.zoo.architectures import ARCHITECTURES, FAMILIES, Architecture

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from wingbeat.study.run import Study

    Array = NDArray[np.float64]

Definition = Literal["full", "projected", "legacy"]
DEFINITIONS: Final[dict[Definition, str]] = {
    "full": "convergence_ratio",
    "projected": "convergence_ratio_projected",
    "legacy": "legacy_ratio",
}
"""Column of the ratio of spreads under each definition."""
DEFINITION_NAMES: Final[dict[Definition, str]] = {
    "full": "full space",
    "projected": "projected",
    "legacy": "as deep-lyapunov 0.1.2",
}
FEWEST_SEEDS: Final = 3
"""Base seeds below which there is no interval over seeds."""


@dataclass(frozen=True)
class Net:
    """What the study found about one architecture.

    Attributes:
        architecture: which.
        seeds: base seeds that are done.
        ratio: final ÷ initial spread, under each definition; below 1 = closer together.
        behavior: verdict of each ratio's interval.
        rate: ln ratio ÷ epochs under each definition, 1/epoch.
        fitted: slope of ln distance per epoch before saturation, full space.
        accuracy: at the end, mean over the copies.
        early_late: change per step in the first half ÷ in the second, geometric mean.
        kept_first: share of the initial summed variance that the projection holds, [0, 1].
        kept_last: of the final.
        noise_floor: largest of its conditions.
    """

    architecture: Architecture
    seeds: tuple[int, ...]
    ratio: dict[Definition, Estimate]
    behavior: dict[Definition, Verdict]
    rate: dict[Definition, Estimate]
    fitted: Estimate
    accuracy: Estimate
    early_late: Estimate
    kept_first: Estimate
    kept_last: Estimate
    noise_floor: float

    @property
    def complete(self) -> bool:
        """Whether there are enough seeds for an interval over them."""
        return len(self.seeds) >= FEWEST_SEEDS


@dataclass(frozen=True)
class FamilyFound:
    """What the study found about one family.

    Attributes:
        family: which.
        nets: all that were run.
        used: those with enough seeds, which the means are over.
        counts: convergent, undetermined and divergent nets under each definition.
        ratio: geometric mean over nets.
        rate: mean of ln ratio ÷ epochs over nets, 1/epoch.
        fitted: mean slope of ln distance, 1/epoch.
        accuracy: mean over nets.
    """

    family: str
    nets: tuple[Net, ...]
    used: tuple[Net, ...]
    counts: dict[Definition, tuple[int, int, int]]
    ratio: dict[Definition, Estimate]
    rate: dict[Definition, Estimate]
    fitted: Estimate
    accuracy: Estimate


class Found:
    """All numbers of a study by architecture and base seed.

    Args:
        study: finished or not; what is missing is left out.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        rows = study.conditions
        self.done = rows[rows["status"] == "done"].copy()
        if len(self.done):
            self._add_ends()
        self.noise_floor = float(self.done["noise_floor"].max()) if len(self.done) else nan
        self.nets = tuple(self._net(a) for a in ARCHITECTURES if len(self._rows(a.name)))
        self.families = tuple(
            self._family(f) for f in FAMILIES if any(n.architecture.family == f for n in self.nets)
        )

    def _add_ends(self) -> None:
        """Add to each condition what only its table holds: accuracy, and what projection keeps."""
        table = self.study.table
        whole = table[table["layer"] == ""]
        copies = whole[(whole["metric"] == "accuracy") & (whole["perturbation"] != "null")]
        last = copies.groupby("key")["step"].transform("max") == copies["step"]
        kept = whole[whole["metric"] == "projected_variance_kept"].sort_values("step")
        found = {
            "accuracy": copies[last].groupby("key")["value"].mean(),
            "kept_first": kept.groupby("key")["value"].first(),
            "kept_last": kept.groupby("key")["value"].last(),
        }
        for name, values in found.items():
            self.done[name] = self.done["key"].map(values)
        self.done["epochs"] = self.done["steps"] / self.done["steps_per_epoch"]

    def _rows(self, name: str) -> pd.DataFrame:
        return self.done[self.done["architecture"] == name].sort_values("seed")

    def by_seed(self, nets: Sequence[Net], value: Callable[[pd.DataFrame], Array]) -> Array:
        """Return a value ``(nets, seeds)`` for the base seeds that all nets share.

        >>> Found.by_seed  # doctest: +ELLIPSIS
        <function Found.by_seed at ...>
        """
        if not nets:
            return np.empty((0, 0))
        shared = set.intersection(*(set(n.seeds) for n in nets))
        rows = []
        for net in nets:
            own = self._rows(net.architecture.name)
            rows.append(value(own[own["seed"].isin(shared)]))
        return np.array(rows)

    def _net(self, architecture: Architecture) -> Net:
        rows = self._rows(architecture.name)
        ratio = {d: self._ratio(rows, d) for d in DEFINITIONS}
        fitted = rows["lyapunov_per_epoch"].to_numpy()
        return Net(
            architecture=architecture,
            seeds=tuple(int(s) for s in rows["seed"]),
            ratio=ratio,
            behavior={d: verdict(e) for d, e in ratio.items()},
            rate={d: over_seeds(rates(rows, d), reason=_why(rows, d)) for d in DEFINITIONS},
            fitted=over_seeds(fitted, reason=_first_reason(rows, "lyapunov_per_epoch")),
            accuracy=within(over_seeds(rows["accuracy"].to_numpy())),
            early_late=exponential(over_seeds(_logs(rows["early_late_ratio"]))),
            kept_first=within(over_seeds(rows["kept_first"].to_numpy())),
            kept_last=within(over_seeds(rows["kept_last"].to_numpy())),
            noise_floor=float(rows["noise_floor"].max()),
        )

    def _ratio(self, rows: pd.DataFrame, definition: Definition) -> Estimate:
        logs = log_ratios(rows, definition)
        if len(logs) < FEWEST_SEEDS and definition == "full" and np.isfinite(logs).all():
            first = rows.iloc[0]
            if len(logs) == 1:
                low, high = first["convergence_ratio_low"], first["convergence_ratio_high"]
                return Estimate(float(np.exp(logs[0])), float(low), float(high))
        return exponential(over_seeds(logs, reason=_why(rows, definition)))

    def _family(self, family: str) -> FamilyFound:
        nets = tuple(n for n in self.nets if n.architecture.family == family)
        used = tuple(n for n in nets if n.complete)
        counts = {
            d: (
                sum(n.behavior[d] == "convergent" for n in nets),
                sum(n.behavior[d] == "undetermined" for n in nets),
                sum(n.behavior[d] == "divergent" for n in nets),
            )
            for d in DEFINITIONS
        }
        return FamilyFound(
            family=family,
            nets=nets,
            used=used,
            counts=counts,
            ratio={d: exponential(self.mean(used, logs_of(d))) for d in DEFINITIONS},
            rate={d: self.mean(used, rates_of(d)) for d in DEFINITIONS},
            fitted=self.mean(used, lambda r: r["lyapunov_per_epoch"].to_numpy()),
            accuracy=within(self.mean(used, lambda r: r["accuracy"].to_numpy())),
        )

    def mean(self, nets: Sequence[Net], value: Callable[[pd.DataFrame], Array]) -> Estimate:
        """Return the mean over nets of a value, with its interval over base seeds."""
        found = self.by_seed(nets, value)
        return over_seeds(found.mean(axis=0)) if found.size else Estimate.undefined(TOO_FEW_SEEDS)


def over_seeds(values: Array, *, reason: str = "") -> Estimate:
    """Return the mean of one value a base seed with its interval; undefined if one of them is.

    >>> over_seeds(np.array([1.0, 2.0, 3.0])).value
    2.0
    >>> over_seeds(np.array([1.0, np.nan]), reason="diverged").reason
    'diverged'
    """
    values = np.asarray(values, dtype=np.float64)
    if not values.size or not np.isfinite(values).all():
        return Estimate.undefined(reason or TOO_FEW_SEEDS)
    return bootstrap(lambda w: w @ values / w.sum(axis=1), len(values))


def within(estimate: Estimate, low: float = 0.0, high: float = 1.0) -> Estimate:
    """Cut an interval to the range that a share can have.

    >>> within(Estimate(0.9, 0.7, 1.1)).high
    1.0
    """
    # NaN stays NaN: an interval that does not exist is not cut.
    first, last = (float(np.clip(e, low, high)) for e in (estimate.low, estimate.high))
    return replace(estimate, low=first, high=last)


def exponential(logs: Estimate) -> Estimate:
    """Return the estimate of exp(x) from that of x; intervals keep their coverage.

    >>> exponential(Estimate(0.0, 0.0, 0.0)).high
    1.0
    """
    low, value, high = (float(np.exp(x)) for x in (logs.low, logs.value, logs.high))
    return Estimate(value, low, high, logs.reason, logs.interval_reason)


def log_ratios(rows: pd.DataFrame, definition: Definition) -> Array:
    """Return ln(final ÷ initial spread) of each condition; NaN where it is undefined."""
    values = rows[DEFINITIONS[definition]].to_numpy(dtype=np.float64)
    return _logs(values)


def _logs(values: ArrayLike) -> Array:
    """Return logarithms, NaN where there is none."""
    numbers = np.asarray(values, dtype=np.float64)
    return np.asarray(np.log(np.where(numbers > 0, numbers, np.nan)))


def rates(rows: pd.DataFrame, definition: Definition) -> Array:
    """Return ln ratio ÷ epochs of each condition, 1/epoch.

    deep-lyapunov takes its exponent from the projected spread, not from its own ratio.
    """
    used: Definition = "projected" if definition == "legacy" else definition
    return np.asarray(log_ratios(rows, used) / rows["epochs"].to_numpy(dtype=np.float64))


def logs_of(definition: Definition) -> Callable[[pd.DataFrame], Array]:
    """Return ``log_ratios`` for one definition."""
    return lambda rows: log_ratios(rows, definition)


def rates_of(definition: Definition) -> Callable[[pd.DataFrame], Array]:
    """Return ``rates`` for one definition."""
    return lambda rows: rates(rows, definition)


def _why(rows: pd.DataFrame, definition: Definition) -> str:
    return _first_reason(rows, DEFINITIONS[definition]) or BELOW_NOISE_FLOOR


def _first_reason(rows: pd.DataFrame, column: str) -> str:
    reasons = [str(r) for r in rows.get(f"{column}_reason", pd.Series(dtype=object)) if r]
    return reasons[0] if reasons else ""


def estimate_json(estimate: Estimate) -> dict[str, Any]:
    """Return an estimate for ``summary.json``."""
    return dict(estimate.to_json())


def summary(found: Found) -> dict[str, Any]:
    """Return families and architectures as JSON."""
    return {
        "noise_floor": None if np.isnan(found.noise_floor) else found.noise_floor,
        "definitions": dict(DEFINITION_NAMES),
        "families": {f.family: _family_json(f) for f in found.families},
        "architectures": {n.architecture.name: _net_json(n) for n in found.nets},
    }


def _family_json(family: FamilyFound) -> dict[str, Any]:
    return {
        "architectures": len(family.nets),
        "in_means": [n.architecture.name for n in family.used],
        "counts": {
            d: dict(zip(("convergent", "undetermined", "divergent"), c, strict=True))
            for d, c in family.counts.items()
        },
        "mean_ratio": {d: estimate_json(e) for d, e in family.ratio.items()},
        "lyapunov_two_point_per_epoch": {d: estimate_json(e) for d, e in family.rate.items()},
        "lyapunov_fitted_per_epoch": estimate_json(family.fitted),
        "accuracy": estimate_json(family.accuracy),
    }


def _net_json(net: Net) -> dict[str, Any]:
    return {
        "parameters": net.architecture.parameters,
        "seeds": list(net.seeds),
        "ratio": {d: estimate_json(e) for d, e in net.ratio.items()},
        "behavior": dict(net.behavior),
        "lyapunov_two_point_per_epoch": {d: estimate_json(e) for d, e in net.rate.items()},
        "lyapunov_fitted_per_epoch": estimate_json(net.fitted),
        "accuracy": estimate_json(net.accuracy),
        "early_late_ratio": estimate_json(net.early_late),
        "projected_variance_kept_first": estimate_json(net.kept_first),
        "projected_variance_kept_last": estimate_json(net.kept_last),
        "noise_floor": net.noise_floor,
    }
