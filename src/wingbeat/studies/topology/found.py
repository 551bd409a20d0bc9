"""From the conditions of the study to nets, families and correlations, each with an interval.

The base seed is the unit of resampling for a net and for the mean of several; for a correlation
across nets it is the net, since the base seeds of one net are no independent points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from wingbeat.errors import TOO_FEW_SEEDS
from wingbeat.stats import Estimate
from wingbeat.studies.dynamics.estimates import exponential, logarithms
from wingbeat.studies.topology.clouds import POOLINGS
from wingbeat.studies.topology.measure import RULES, WHEN
from wingbeat.study.correlation import correlate, correlation
from wingbeat.study.finished import done, estimate_columns, first_reason, mean_of, over_seeds
from wingbeat.study.ranges import AT_LEAST_0, CORRELATION, SHARE, kept
from wingbeat.tasks.architectures import ARCHITECTURES, FAMILIES, Architecture

if TYPE_CHECKING:
    from wingbeat.study.analysis import Analysis, Tables
    from wingbeat.study.outcome import StudyResult
    from wingbeat.typing import Array

RATIOS: Final = tuple(f"expansion_{rule}_{when}" for rule in RULES for when in WHEN)
GROWTHS: Final = tuple(f"growth_{rule}" for rule in RULES)
"""Expansion of the trained net ÷ that of the same net untrained."""
SHAPES: Final = ("h0_start", "h0_end", "h1_start", "h1_end")
ACCURACY: Final = "training_accuracy"
MEASURED: Final = (*RATIOS, *GROWTHS, *SHAPES)
OUTCOMES: Final = ("convergence_ratio", "lyapunov_per_epoch")
SCOPES: Final = {"all nets": FAMILIES, "dense nets": ("dense",), "CNNs": ("cnn",)}
"""Between families data, optimizer and length of training differ too: hence each alone."""


@dataclass(frozen=True)
class MeasuredNet:
    """One architecture with its finished base seeds, and each number as an estimate.

    Attributes:
        architecture: which.
        rows: its conditions by base seed.
        values: by column; ratios as geometric means.
    """

    architecture: Architecture
    rows: pd.DataFrame
    values: dict[str, Estimate]


class TopologyFindings:
    """All numbers of a study by architecture and base seed.

    Args:
        plan: what was asked.
        study: finished or not; what is missing is left out.
        draws: permutations for the p value of a correlation.
    """

    def __init__(self, plan: Any, study: StudyResult, draws: int = 2000) -> None:
        self.plan, self.study, self.draws = plan, study, draws
        self.done = done(study).copy()
        for rule in RULES:
            first, last = (self.done[f"expansion_{rule}_{when}"] for when in WHEN)
            self.done[f"growth_{rule}"] = last / first
        self.nets = tuple(
            _net(a, own.sort_values("seed"))
            for a in ARCHITECTURES
            if len(own := self.done[self.done["architecture"] == a.name])
        )

    def family(self, name: str) -> tuple[MeasuredNet, ...]:
        """Return the nets of a family, or those of one kind of transformer ("GPT", "BERT")."""
        return tuple(n for n in self.nets if name in (n.architecture.family, n.architecture.group))

    def mean(self, family: str, column: str, *, log: bool = True) -> Estimate:
        """Return the mean over a family's nets with its interval over base seeds.

        Nets with a base seed in which the value does not exist are left out; see `left_out`.

        Args:
            family: as in `family`.
            column: of the conditions.
            log: whether the geometric mean is meant; else of what is at least 0.
        """
        means = self.means(family, column, log=log)
        found = over_seeds(means) if means.size else Estimate.undefined(TOO_FEW_SEEDS)
        return exponential(found) if log else kept(found, AT_LEAST_0)

    def means(self, family: str, column: str, *, log: bool = True) -> Array:
        """Return the mean over a family's nets in each base seed; of logarithms by default."""
        values = self.by_seed(family, column)
        logs = logarithms(values) if log else values
        means: Array = logs.mean(axis=0) if logs.size else np.empty(0)
        return means

    def by_seed(self, family: str, column: str) -> Array:
        """Return the values (nets, seeds) of the nets that have one in each shared base seed."""
        nets = self.family(family)
        if not nets or column not in self.done:
            return np.empty((0, 0))
        shared = set.intersection(*(set(n.rows["seed"]) for n in nets))
        rows = [n.rows[n.rows["seed"].isin(shared)][column].to_numpy(float) for n in nets]
        return np.array([r for r in rows if np.isfinite(r).all()])

    def left_out(self, family: str, column: str) -> int:
        """Return how many of a family's nets have no value in some base seed."""
        return len(self.family(family)) - len(self.by_seed(family, column))

    def of_scope(self, scope: str) -> pd.DataFrame:
        """Return the conditions of a scope's nets, of the base seeds that all of them have."""
        return of_shared_seeds(self.done[self.done["family"].isin(SCOPES[scope])])

    def correlations(self, scope: str) -> pd.DataFrame:
        """Return the rank correlation of every number with λ and the ratio of spreads."""
        rows = self.of_scope(scope)
        if not len(rows):
            return pd.DataFrame()
        found = correlate(rows, MEASURED, OUTCOMES, group="architecture", draws=self.draws)
        found["scope"] = scope
        pairs = zip(found["measured"], found["outcome"], strict=True)
        these = [estimate_columns("among_these", among_these(rows, *pair)) for pair in pairs]
        return found.join(pd.DataFrame(these))


def of_shared_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the conditions of the base seeds that all of their nets have.

    A base seed that some nets lack says nothing of all of them: its correlation is that of other
    nets, and nets with more base seeds would weigh more.
    """
    nets = rows.groupby("seed")["architecture"].transform("nunique")
    return rows[nets == rows["architecture"].nunique()]


def among_these(rows: pd.DataFrame, measured: str, outcome: str) -> Estimate:
    """Return the rank correlation across nets within each base seed, as a mean over base seeds.

    Its interval says how sure the correlation is for exactly these nets, where that of
    `correlate` is about nets like these.
    """
    found = within_seeds(rows, measured, outcome)
    reason = next((one.reason for one in found if one.reason), "")
    return over_seeds(np.array([one.value for one in found]), reason=reason, within=CORRELATION)


def within_seeds(rows: pd.DataFrame, measured: str, outcome: str) -> list[Estimate]:
    """Return the rank correlation across nets within each base seed."""
    pairs, seeds = rows[[measured, outcome]].to_numpy(float), rows["seed"].to_numpy()
    there = np.isfinite(pairs).all(axis=1)
    return [correlation(*pairs[there & (seeds == seed)].T) for seed in np.unique(seeds)]


def _net(architecture: Architecture, rows: pd.DataFrame) -> MeasuredNet:
    factors = (*RATIOS, *GROWTHS, "convergence_ratio")
    values = {
        name: exponential(over_seeds(logarithms(rows[name]), reason=first_reason(rows, name)))
        for name in factors
    }
    values |= {name: mean_of(rows, name, AT_LEAST_0) for name in SHAPES}
    values["lyapunov_per_epoch"] = mean_of(rows, "lyapunov_per_epoch")
    values[ACCURACY] = mean_of(rows, ACCURACY, SHARE)
    return MeasuredNet(architecture, rows, values)


def tables(found: Analysis) -> Tables:
    """Return nets, families, correlations and transformers, each with intervals and reasons."""
    own: TopologyFindings = found.own
    return {
        "architectures": pd.DataFrame([_net_row(n) for n in own.nets]),
        "correlations": pd.concat([own.correlations(s) for s in SCOPES], ignore_index=True),
        "families": pd.DataFrame([_family_row(own, f) for f in FAMILIES if own.family(f)]),
        "conventions": conventions(own),
    }


def _net_row(net: MeasuredNet) -> dict[str, Any]:
    row = {
        "architecture": net.architecture.name,
        "family": net.architecture.family,
        "parameters": net.architecture.parameters,
        "seeds": len(net.rows),
    }
    for name, value in net.values.items():
        row |= estimate_columns(name, value)
    return row


def _family_row(own: TopologyFindings, family: str) -> dict[str, Any]:
    row: dict[str, Any] = {"family": family, "architectures": len(own.family(family))}
    for name in (*RATIOS, *GROWTHS):
        row |= estimate_columns(name, own.mean(family, name))
    for name in (*SHAPES, "h0_span_start", "h0_span_end"):
        row |= estimate_columns(name, own.mean(family, name, log=False))
        row[f"{name}_left_out"] = own.left_out(family, name)
    return row


def conventions(own: TopologyFindings) -> pd.DataFrame:
    """Return the ratio of GPTs and BERTs under each rule and pooling, before and after."""
    rows: list[dict[str, Any]] = []
    for kind in ("GPT", "BERT") if own.family("transformer") else ():
        for rule in RULES:
            for pooling in POOLINGS:
                for when in WHEN:
                    value = own.mean(kind, f"expansion_{rule}_{pooling}_{when}")
                    row = {"kind": kind, "rule": rule, "pooling": pooling, "when": when}
                    rows.append({**row, **estimate_columns("ratio", value)})
    return pd.DataFrame(rows)
