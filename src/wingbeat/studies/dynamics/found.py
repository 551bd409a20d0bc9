"""From the conditions of the study to architectures and families, each number with an interval.

The base seed is the unit of resampling: every number is first computed within each seed, and
its interval is Student's over seeds. Where a net has fewer than three seeds, the interval of a
ratio is the one over copies within its only seed, and families leave the net out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from wingbeat.errors import TOO_FEW_SEEDS
from wingbeat.stats import VERDICT_LEVEL, Estimate, Verdict, verdict, verdict_named
from wingbeat.studies.dynamics.estimates import (
    DEFINITIONS,
    FEWEST_SEEDS,
    Definition,
    exponential,
    log_ratios,
    logarithms,
    rates,
    why_undefined,
)
from wingbeat.study.finished import estimate_columns, estimate_in, last_of, mean_of, over_seeds
from wingbeat.study.ranges import SHARE, kept
from wingbeat.tasks.architectures import ARCHITECTURES, FAMILIES, Architecture
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.studies.dynamics.plan import DynamicsPlan
    from wingbeat.study.outcome import StudyResult


BEHAVIORS: Final = ("convergent", "undetermined", "divergent")
"""In the order in which nets are counted."""


@dataclass(frozen=True)
class Net:
    """What the study found about one architecture.

    Attributes:
        architecture: which.
        seeds: base seeds that are done.
        ratio: final ÷ initial spread, under each definition; below 1 = closer together.
        behavior: verdict on each ratio, which asks for an interval of 99 %.
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
    counts: dict[Definition, tuple[int, ...]]
    ratio: dict[Definition, Estimate]
    rate: dict[Definition, Estimate]
    fitted: Estimate
    accuracy: Estimate


class DynamicsFindings:
    """All numbers of a study by architecture and base seed.

    Args:
        plan: what was asked.
        study: finished or not; what is missing is left out.
    """

    def __init__(self, plan: DynamicsPlan, study: StudyResult) -> None:
        self.plan, self.study = plan, study
        rows = study.conditions
        self.done = rows[rows["status"] == "done"].copy()
        if len(self.done):
            self._add_ends()
        self.nets = tuple(self._net(a) for a in ARCHITECTURES if len(self.rows(a.name)))
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
            "kept_first": last_of(kept[::-1]),
            "kept_last": last_of(kept),
        }
        for name, values in found.items():
            self.done[name] = self.done["key"].map(values)
        self.done["epochs"] = self.done["steps"] / self.done["steps_per_epoch"]

    def rows(self, name: str) -> pd.DataFrame:
        """Return the finished conditions of an architecture by base seed."""
        return self.done[self.done["architecture"] == name].sort_values("seed")

    def by_seed(self, nets: Sequence[Net], value: Callable[[pd.DataFrame], Array]) -> Array:
        """Return a value ``(nets, seeds)`` for the base seeds that all nets share."""
        if not nets:
            return np.empty((0, 0))
        shared = set.intersection(*(set(n.seeds) for n in nets))
        rows = []
        for net in nets:
            own = self.rows(net.architecture.name)
            rows.append(value(own[own["seed"].isin(shared)]))
        return np.array(rows)

    def _net(self, architecture: Architecture) -> Net:
        rows = self.rows(architecture.name)
        ratio = {d: self._ratio(rows, d) for d in DEFINITIONS}
        return Net(
            architecture=architecture,
            seeds=tuple(int(s) for s in rows["seed"]),
            ratio=ratio,
            behavior={d: self._behavior(rows, d) for d in DEFINITIONS},
            rate={
                d: over_seeds(rates(rows, d), reason=why_undefined(rows, d)) for d in DEFINITIONS
            },
            fitted=mean_of(rows, "lyapunov_per_epoch"),
            accuracy=mean_of(rows, "accuracy", SHARE),
            early_late=exponential(over_seeds(logarithms(rows["early_late_ratio"]))),
            kept_first=mean_of(rows, "kept_first", SHARE),
            kept_last=mean_of(rows, "kept_last", SHARE),
            noise_floor=float(rows["noise_floor"].max()),
        )

    def _ratio(self, rows: pd.DataFrame, definition: Definition) -> Estimate:
        logs = log_ratios(rows, definition)
        if len(logs) == 1 and definition == "full" and np.isfinite(logs).all():
            return estimate_in(rows.iloc[0], "convergence_ratio")
        return exponential(over_seeds(logs, reason=why_undefined(rows, definition)))

    def _behavior(self, rows: pd.DataFrame, definition: Definition) -> Verdict:
        """Judge at the level of verdicts, which is above that of the ratio's own interval."""
        logs = log_ratios(rows, definition)
        if len(logs) == 1 and definition == "full" and np.isfinite(logs).all():
            return verdict_named(rows.iloc[0].get("behavior"))
        why = why_undefined(rows, definition)
        return verdict(exponential(over_seeds(logs, reason=why, level=VERDICT_LEVEL)))

    def _family(self, family: str) -> FamilyFound:
        nets = tuple(n for n in self.nets if n.architecture.family == family)
        used = tuple(n for n in nets if n.complete)
        given = {d: [n.behavior[d] for n in nets] for d in DEFINITIONS}
        logs = {d: self.mean(used, partial(log_ratios, definition=d)) for d in DEFINITIONS}
        return FamilyFound(
            family=family,
            nets=nets,
            used=used,
            counts={d: tuple(g.count(b) for b in BEHAVIORS) for d, g in given.items()},
            ratio={d: exponential(mean) for d, mean in logs.items()},
            rate={d: self.mean(used, partial(rates, definition=d)) for d in DEFINITIONS},
            fitted=self.mean(used, lambda r: r["lyapunov_per_epoch"].to_numpy()),
            accuracy=kept(self.mean(used, lambda r: r["accuracy"].to_numpy()), SHARE),
        )

    def mean(self, nets: Sequence[Net], value: Callable[[pd.DataFrame], Array]) -> Estimate:
        """Return the mean over nets of a value, with its interval over base seeds."""
        found = self.by_seed(nets, value)
        return over_seeds(found.mean(axis=0)) if found.size else Estimate.undefined(TOO_FEW_SEEDS)


def families_table(found: DynamicsFindings) -> pd.DataFrame:
    """Return one row for each family: counts, and means with intervals and reasons."""
    return pd.DataFrame([_family_row(f) for f in found.families])


def _family_row(family: FamilyFound) -> dict[str, Any]:
    row: dict[str, Any] = {
        "family": family.family,
        "architectures": len(family.nets),
        "in_means": len(family.used),
    }
    for d, counts in family.counts.items():
        row |= {f"{b}_{d}": count for b, count in zip(BEHAVIORS, counts, strict=True)}
    return row | _columns(family.ratio, family.rate, family.fitted, family.accuracy)


def nets_table(found: DynamicsFindings) -> pd.DataFrame:
    """Return one row for each architecture: estimates with intervals, reasons and verdicts."""
    return pd.DataFrame([_net_row(n) for n in found.nets])


def _net_row(net: Net) -> dict[str, Any]:
    row: dict[str, Any] = {
        "architecture": net.architecture.name,
        "family": net.architecture.family,
        "parameters": net.architecture.parameters,
        "seeds": len(net.seeds),
        "noise_floor": net.noise_floor,
        **{f"behavior_{d}": verdict for d, verdict in net.behavior.items()},
        **_columns(net.ratio, net.rate, net.fitted, net.accuracy),
    }
    for name in ("early_late", "kept_first", "kept_last"):
        row |= estimate_columns(name, getattr(net, name))
    return row


def _columns(
    ratio: dict[Definition, Estimate],
    rate: dict[Definition, Estimate],
    fitted: Estimate,
    accuracy: Estimate,
) -> dict[str, Any]:
    named = {f"ratio_{d}": e for d, e in ratio.items()}
    named |= {f"lyapunov_two_point_{d}": e for d, e in rate.items()}
    named |= {"lyapunov_fitted": fitted, "accuracy": accuracy}
    return {k: v for name, e in named.items() for k, v in estimate_columns(name, e).items()}
