"""What a search for the onset found."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from wingbeat.analyses.onset.decision import Verdict, decide, limits
from wingbeat.analyses.onset.search import Bracket, Cost, bracket
from wingbeat.errors import BELOW_NOISE_FLOOR, DIVERGED, NOT_REACHED, UNDECIDED

if TYPE_CHECKING:
    from pathlib import Path

Status = Literal["found", "always_stable", "not_reached", "undetermined"]


@dataclass(frozen=True)
class Trial:
    """One candidate step with all its replicas, of which there are n.

    Attributes:
        step: where the replicas forked.
        values: how far each ended from the reference, by the metric; None for one that diverged.
        l2: what the fork did to each, after rounding: norm of the difference in weights.
        moved: whether the fork did anything at all; a replica in which the perturbation vanished
            in rounding is the twin, and is not counted.
        noise: distance at the end of the unperturbed twin from the reference.
    """

    step: int
    values: tuple[float | None, ...]
    l2: tuple[float, ...]
    moved: tuple[bool, ...]
    noise: float

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> Trial:
        """Return the trial that ``asdict`` described."""
        lists = {name: tuple(facts[name]) for name in ("values", "l2", "moved")}
        return cls(step=facts["step"], noise=facts["noise"], **lists)

    def left(self, threshold: float) -> int:
        """Return how many of those counted ended elsewhere: above the threshold, or diverged."""
        pairs = zip(self.values, self.moved, strict=True)
        return sum(moved and (value is None or value > threshold) for value, moved in pairs)

    @property
    def counted(self) -> int:
        """Replicas that were really perturbed."""
        return sum(self.moved)


@dataclass(frozen=True)
class Onset:
    """From which step on a perturbation no longer leads to another basin.

    Attributes:
        status: "found"; "always_stable": already at the first candidate; "not_reached": not even
            at the last one; "undetermined": between ``low`` and ``high`` replicates do not decide.
        step: the first candidate from which on all that were tried are stable; None unless
            ``status`` is "found" or "always_stable".
        low: the last step found unstable: the onset is above it. None if none was.
        high: the first step from which on all that were tried are stable; None if not the last.
        reason: why ``step`` is None, "" if it is not.
        monotone: whether no stable step was found below an unstable one. The search assumes it;
            where it is False there may be more crossings, and ``step`` lies above those found.
        confidence: of the verdict at each step.
        joint_confidence: that all verdicts together are right, at least (union bound).
        table: a row for each step tried: step, replicas, counted, left, low, high (limits of the
            probability to leave), verdict, median and largest value, the fork's mean l2, noise.
        values: a row for each replica: step, replica, value, l2, left, reason.
        metric: what was measured at the end, between replica and reference.
        threshold: above it a replica has left.
        share: probability to leave that divides stable from unstable.
        cost: what the search was bound to cost, as announced.
        spent: replica-steps that it took, of which a resumed search repeats none.
        noise_floor: largest distance of an unperturbed twin from the reference; exactly 0 where
            starting from a stored state repeats the run to the bit.
        warnings: what to read before any number.
        condition: what was asked.
        environment: how it was executed.
        folder: where it lies on disk, or None.
    """

    status: Status
    step: int | None
    low: int | None
    high: int | None
    reason: str
    monotone: bool
    confidence: float
    joint_confidence: float
    table: pd.DataFrame = field(repr=False)
    values: pd.DataFrame = field(repr=False)
    metric: str
    threshold: float
    share: float
    cost: Cost
    spent: int
    noise_floor: float
    warnings: tuple[str, ...]
    condition: dict[str, Any] = field(repr=False)
    environment: dict[str, Any] = field(repr=False)
    folder: Path | None = None

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        sure = f"{self.confidence:.0%} at each step"
        if self.status == "found":
            return f"stable from step {self.step} on; at step {self.low} not yet ({sure})"
        if self.status == "always_stable":
            return f"stable from step {self.step} on, the first that was tried ({sure})"
        if self.status == "not_reached":
            return f"not stable at step {self.table.step.iloc[-1]}, the last candidate ({sure})"
        after = "the first candidate" if self.low is None else f"step {self.low}"
        before = "the end" if self.high is None else f"step {self.high}"
        return f"undetermined between {after} and {before}: replicates do not decide ({sure})"

    def to_json(self) -> dict[str, Any]:
        """Return everything but environment and condition, JSON-safe."""
        own = ("status", "step", "low", "high", "reason", "monotone", "confidence")
        more = ("joint_confidence", "metric", "threshold", "share", "spent", "noise_floor")
        return {
            **{name: getattr(self, name) for name in own + more},
            "cost": asdict(self.cost),
            "warnings": list(self.warnings),
            "table": json.loads(self.table.to_json(orient="records")),
            "values": json.loads(self.values.to_json(orient="records")),
            "folder": None if self.folder is None else str(self.folder),
        }


@dataclass(frozen=True)
class Rule:
    """When a replica has left, and when replicas decide."""

    metric: str
    threshold: float
    share: float
    confidence: float

    def verdict(self, trial: Trial) -> Verdict:
        """Judge one step."""
        left, counted = trial.left(self.threshold), trial.counted
        return decide(left, counted, share=self.share, confidence=self.confidence)


@dataclass(frozen=True)
class OnsetStatus:
    """The answer in four fields, as `Onset` has them."""

    status: Status
    step: int | None
    reason: str
    where: Bracket


def answer(steps: tuple[int, ...], rule: Rule, trials: dict[int, Trial]) -> OnsetStatus:
    """Return what the trials of a finished search say."""
    verdicts = {step: rule.verdict(trial) for step, trial in trials.items()}
    where = bracket(verdicts)
    if where.high is None:
        last = verdicts[max(verdicts)]
        if last == "unstable":
            return OnsetStatus("not_reached", None, NOT_REACHED, where)
        return OnsetStatus("undetermined", None, UNDECIDED, where)
    if where.between:
        return OnsetStatus("undetermined", None, UNDECIDED, where)
    status: Status = "always_stable" if where.high == steps[0] else "found"
    return OnsetStatus(status, where.high, "", where)


def trial_table(rule: Rule, trials: dict[int, Trial]) -> pd.DataFrame:
    """Return a row for each step tried, ascending."""
    return pd.DataFrame([_row(rule, trials[step]) for step in sorted(trials)])


def value_table(rule: Rule, trials: dict[int, Trial]) -> pd.DataFrame:
    """Return a row for each replica of each step."""
    return pd.DataFrame([row for s in sorted(trials) for row in _replica_rows(rule, trials[s])])


def warnings_of(where: Bracket, trials: dict[int, Trial], noise: float) -> list[str]:
    """Return what must be read before any number."""
    notes = []
    if noise > 0:
        notes.append(
            f"An unperturbed twin ended {noise:.3g} away from the reference: this execution does "
            "not repeat itself, and distances at or below that are noise."
        )
    if where.against:
        steps = ", ".join(map(str, where.against))
        notes.append(
            f"Stability is not monotone: stable at step {steps} but unstable at {where.low}. "
            "There may be more crossings; try every step with steps=."
        )
    unmoved = sorted(step for step, trial in trials.items() if not all(trial.moved))
    if unmoved:
        notes.append(
            f"At step {', '.join(map(str, unmoved))} the perturbation vanished in rounding in some "
            "replicas; they are not counted."
        )
    return notes


def _row(rule: Rule, trial: Trial) -> dict[str, Any]:
    left, counted = trial.left(rule.threshold), trial.counted
    low, high = limits(left, counted, confidence=rule.confidence)
    kept = [np.nan if v is None else v for v in trial.values]
    finite = [v for v in kept if isfinite(v)]
    return {
        "step": trial.step,
        "replicas": len(trial.values),
        "counted": counted,
        "left": left,
        "low": low,
        "high": high,
        "verdict": rule.verdict(trial),
        "median": float(np.median(finite)) if finite else np.nan,
        "largest": max(finite, default=np.nan),
        "l2": float(np.mean(trial.l2)),
        "noise": trial.noise,
    }


def _replica_rows(rule: Rule, trial: Trial) -> list[dict[str, Any]]:
    return [
        {
            "step": trial.step,
            "replica": i + 1,
            "value": np.nan if value is None else value,
            "l2": l2,
            "left": bool(moved and (value is None or value > rule.threshold)),
            "reason": DIVERGED if value is None else "" if moved else BELOW_NOISE_FLOOR,
        }
        for i, (value, l2, moved) in enumerate(
            zip(trial.values, trial.l2, trial.moved, strict=True)
        )
    ]
