"""The study of learning-rate phases: what one number does to stability, curvature and accuracy.

For any task factory with an argument for the learning rate: the largest exponent of the training
map, sharpness against its threshold, loss, spread and accuracy over a sweep, in which range the
run is laminar, chaotic or divergent, and which learning rate reaches the accuracy soonest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from inspect import signature
from math import isfinite, nan
from pathlib import Path
from typing import Any, Final, Literal, Unpack

import numpy as np
import pandas as pd

from wingbeat.errors import RequestError
from wingbeat.stats import Estimate
from wingbeat.studies.dynamics.estimates import over_seeds
from wingbeat.studies.finding import Finding, How, Shown, Tables, done, find, mean_of
from wingbeat.study.condition import Condition, named
from wingbeat.study.correlation import correlate
from wingbeat.study.outcome import StudyResult

Phase = Literal["laminar", "chaotic", "divergent", "undetermined"]
E_FOLD: Final = 1.0
"""Growth over a whole run, as a logarithm and beyond the background, that parts the phases."""
MEASURED: Final = ("lambda_max", "sharpness_end", "convergence_ratio")
OUTCOMES: Final = ("final_accuracy", "final_eval_loss")


@dataclass(frozen=True)
class PhasesPlan:
    """What was asked of the study.

    Args:
        factory: ``module:function`` that returns a Task.
        rates: learning rates, ascending.
        arguments: further arguments of the factory.
        rate_name: name of the factory's argument for the learning rate.
        seeds: base seeds, from 0 on.
        replicas: nudged copies; 0 leaves the spread out.
        record_every: steps between snapshots; None takes about 20 in all.
        target: accuracy whose time is compared; None takes 95 % of the best final one.
        exponents: measure λ_max (as expensive as several trainings).

    Raises:
        RequestError: fewer than two learning rates, one that is not positive, or no seed.
    """

    factory: str
    rates: tuple[float, ...]
    arguments: dict[str, Any] = field(default_factory=dict)
    rate_name: str = "lr"
    seeds: int = 3
    replicas: int = 2
    record_every: int | None = None
    target: float | None = None
    exponents: bool = True

    def __post_init__(self) -> None:
        if len(self.rates) < 2 or min(self.rates) <= 0:
            raise RequestError(f"rates are {self.rates}: give two or more positive ones")
        if self.seeds < 1 or self.replicas < 0:
            raise RequestError(f"seeds {self.seeds}, replicas {self.replicas}: too few")


def usual_rates(factory: str, rate_name: str = "lr") -> tuple[float, ...]:
    """Return a sweep around a factory's own learning rate: from a quarter to 16 times it.

    Args:
        factory: ``module:function``.
        rate_name: its argument for the learning rate.

    Raises:
        RequestError: it has no such argument, or no number as its default.

    Example:
        >>> usual_rates("wingbeat.tasks.full_batch:tanh_task")
        (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
    """
    known = signature(named(factory)).parameters
    default = known[rate_name].default if rate_name in known else None
    if not isinstance(default, float | int):
        msg = f"{factory} has no default for {rate_name!r}: give --lr two or more times"
        raise RequestError(msg)
    return tuple(default * 2.0**power for power in range(-2, 5))


def conditions(plan: PhasesPlan) -> list[Condition]:
    """Return one condition for each learning rate and base seed.

    Example:
        >>> plan = PhasesPlan("wingbeat.tasks.full_batch:tanh_task", (0.1, 0.2), seeds=2)
        >>> [c.tags["lr"] for c in conditions(plan)]
        [0.1, 0.1, 0.2, 0.2]
    """
    places = ["sharpness", *(["exponent"] if plan.exponents else [])]
    nudge: tuple[dict[str, Any], ...] = ({"kind": "gaussian", "scale": 1e-3},)
    grid = [
        Condition(
            factory=plan.factory,
            arguments={**plan.arguments, plan.rate_name: lr},
            perturbations=nudge if plan.replicas else (),
            replicas=max(1, plan.replicas),
            metrics=("l2", "spread", "train_loss", "eval_loss", "accuracy"),
            seeds=(seed,),
            measures=tuple(f"wingbeat.studies.curvature:{name}" for name in places),
            tags={"lr": lr, "seed": seed},
        )
        for lr in sorted(plan.rates)
        for seed in range(plan.seeds)
    ]
    every = plan.record_every or max(1, grid[0].task().steps // 20)
    return [Condition(**{**vars(c), "record_every": every}) for c in grid]


def study_lr_phases(plan: PhasesPlan, out: str | Path, **how: Unpack[How]) -> Finding:
    """Run what is left of the sweep, write ``phases.csv``, ``correlations.csv`` and the page."""
    from wingbeat.studies.lr_phases.page import sections, tables, words

    def judge(study: StudyResult) -> Tables:
        rows = with_outcomes(study, plan.target)
        return {"phases": by_rate(rows), "correlations": correlations(rows)}

    def show(_: StudyResult, found: Tables) -> Shown:
        phases = found["phases"]
        return Shown(words(plan, phases), sections(phases), tables(**found))

    return find(conditions(plan), out, judge, show, **how)


def with_outcomes(study: StudyResult, target: float | None = None) -> pd.DataFrame:
    """Return the finished conditions with final accuracy, loss and steps to an accuracy.

    Args:
        study: the sweep.
        target: accuracy; None takes 95 % of the best final one.
    """
    rows, table = done(study).copy(), study.table
    found: dict[str, list[float]] = {"final_accuracy": [], "final_eval_loss": []}
    for key in rows["key"]:
        for name, metric in (("final_accuracy", "accuracy"), ("final_eval_loss", "eval_loss")):
            values = _reference(table, key, metric)["value"]
            found[name].append(float(values.iloc[-1]) if len(values) else nan)
    rows = rows.assign(**found)
    best = rows["final_accuracy"].max()
    wish = target if target is not None else 0.95 * float(best)
    reached = []
    for key in rows["key"]:
        course = _reference(table, key, "accuracy")
        there = course[course["value"] >= wish]
        reached.append(float(there["step"].iloc[0]) if len(there) else nan)
    return rows.assign(target=wish, steps_to_target=reached)


def correlations(rows: pd.DataFrame) -> pd.DataFrame:
    """Return Spearman's correlation of λ_max, sharpness and spread with accuracy and loss.

    Across all conditions, with intervals that draw whole learning rates.

    Args:
        rows: as from ``with_outcomes``.
    """
    measured = [name for name in MEASURED if name in rows]
    return correlate(rows, measured, list(OUTCOMES), group="lr")


def _reference(table: pd.DataFrame, key: str, metric: str) -> pd.DataFrame:
    own = table[(table["key"] == key) & (table["metric"] == metric)] if len(table) else table
    label = "reference"
    rows: pd.DataFrame = own[(own["a"] == label) | (own["b"] == label)] if len(own) else own
    return rows


def by_rate(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row a learning rate: means over seeds with intervals, background and phase."""
    slow = _slowest(rows)
    found = []
    for lr, own in rows.groupby("lr", sort=True):
        row: dict[str, Any] = {"lr": float(str(lr)), "runs": len(own)}
        for name in (*MEASURED, "sharpness_ratio", "final_loss", *OUTCOMES, "steps_to_target"):
            row |= _named(name, mean_of(own, name))
        if "lambda_max" in own:
            beside = background(own, slow)
            row["background"] = float(beside.mean())
            excess = (own["lambda_max"] - beside.clip(lower=0.0)) * own["steps"]
            row |= _named("growth", over_seeds(excess.to_numpy(dtype=np.float64)))
        row["phase"] = phase_of(row)
        found.append(row)
    return pd.DataFrame(found)


def background(own: pd.DataFrame, slow: pd.DataFrame) -> pd.Series:
    """Return what slow growth along flat directions would make of λ_max, run by run.

    The exponent of the same base seed at the smallest learning rate times the ratio of the rates;
    0 at that rate itself.

    Args:
        own: conditions of one learning rate.
        slow: those of the smallest.

    Example:
        >>> slow = pd.DataFrame({"lr": [0.1], "seed": [0], "lambda_max": [0.01]})
        >>> background(slow.assign(lr=0.2), slow).tolist(), background(slow, slow).tolist()
        ([0.02], [0.0])
    """
    there = slow.set_index("seed")
    ratio = own["lr"] / own["seed"].map(there["lr"])
    scaled = own["seed"].map(there["lambda_max"]) * ratio
    return scaled.where(ratio != 1.0, 0.0)


def _slowest(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["lr"] == rows["lr"].min()] if "lambda_max" in rows else rows


def _named(name: str, found: Estimate) -> dict[str, float]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def phase_of(row: dict[str, Any]) -> Phase:
    """Judge one learning rate; see the definitions on the page.

    Example:
        >>> chaotic = {"final_loss": 0.1, "growth_low": 1.5, "growth_high": 4.0}
        >>> phase_of(chaotic), phase_of({**chaotic, "growth_low": 0.5})
        ('chaotic', 'undetermined')
    """
    if not isfinite(row["final_loss"]):
        return "divergent"
    if row.get("growth_low", nan) > E_FOLD:
        return "chaotic"
    return "laminar" if row.get("growth_high", nan) < E_FOLD else "undetermined"


def soonest(phases: pd.DataFrame) -> float:
    """Return the learning rate with the fewest steps to the target; NaN if none reaches it."""
    known = phases[np.isfinite(phases["steps_to_target"])]
    return float(known.loc[known["steps_to_target"].idxmin(), "lr"]) if len(known) else nan


def command_of(plan: PhasesPlan) -> str:
    """Return the command line that runs a plan.

    >>> command_of(PhasesPlan("m:f", (0.1, 0.2), {"n": 100}))
    'wingbeat study lr-phases m:f --lr 0.1 --lr 0.2 --arg n=100'
    """
    words = [f"wingbeat study lr-phases {plan.factory}"]
    words += [f"--lr {lr:g}" for lr in plan.rates]
    words += [f"--arg {k}={v}" for k, v in plan.arguments.items()]
    words += [f"--rate-name {plan.rate_name}"] * (plan.rate_name != "lr")
    words += [f"--seeds {plan.seeds}"] * (plan.seeds != 3)
    words += [f"--replicas {plan.replicas}"] * (plan.replicas != 2)
    words += ["--no-exponents"] * (not plan.exponents)
    return " ".join(words)
