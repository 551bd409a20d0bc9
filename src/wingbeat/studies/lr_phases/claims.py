"""Which learning rates are laminar, chaotic, divergent, and how accuracy goes with it."""

from __future__ import annotations

from math import isfinite, nan
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from wingbeat.study.analysis import Analysis, Tables
from wingbeat.study.correlation import correlate
from wingbeat.study.finished import done, estimate_columns, last_of, mean_columns, over_seeds
from wingbeat.study.outcome import StudyResult
from wingbeat.study.ranges import AT_LEAST_0, SHARE, Range

Phase = Literal["laminar", "chaotic", "divergent", "undetermined"]
E_FOLD: Final = 1.0
"""Growth over a whole run, as a logarithm and beyond the background, that parts the phases."""
MEASURED: Final = ("lambda_max", "sharpness_end", "convergence_ratio")
OUTCOMES: Final = ("final_accuracy", "final_eval_loss")
LIMITS: Final[dict[str, Range]] = {
    "final_accuracy": SHARE,
    **dict.fromkeys(
        ("convergence_ratio", "final_loss", "final_eval_loss", "steps_to_target"), AT_LEAST_0
    ),
}
"""What numbers of a learning rate can be."""


def tables(found: Analysis) -> Tables:
    """Return the phases and correlations, written as CSV."""
    rows = with_outcomes(found.study, found.plan.target)
    return {"phases": by_rate(rows), "correlations": correlations(rows)}


def with_outcomes(study: StudyResult, target: float | None = None) -> pd.DataFrame:
    """Return the finished conditions with final accuracy, loss and steps to an accuracy.

    Args:
        study: the sweep.
        target: accuracy; None takes 95 % of the best final one.
    """
    rows = done(study)
    accuracy = _reference(study.table, "accuracy")
    ends = {
        "final_accuracy": last_of(accuracy),
        "final_eval_loss": last_of(_reference(study.table, "eval_loss")),
    }
    rows = rows.assign(**{name: rows["key"].map(values) for name, values in ends.items()})
    best = float(rows["final_accuracy"].max())
    wish = 0.95 * best if target is None else target
    reached = accuracy[accuracy["value"] >= wish].groupby("key")["step"].first()
    return rows.assign(target=wish, steps_to_target=rows["key"].map(reached).astype(float))


def correlations(rows: pd.DataFrame) -> pd.DataFrame:
    """Return Spearman's correlation of λ_max, sharpness and spread with accuracy and loss.

    Across all conditions, with intervals that draw whole learning rates.

    Args:
        rows: as from ``with_outcomes``.
    """
    measured = [name for name in MEASURED if name in rows]
    return correlate(rows, measured, list(OUTCOMES), group="lr")


def _reference(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the rows of the reference, as they come: by step."""
    label = "reference"
    rows: pd.DataFrame = table[(table["a"] == label) | (table["b"] == label)]
    return rows[rows["metric"] == metric]


def by_rate(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row a learning rate: means over seeds with intervals, background and phase."""
    slow = _slowest(rows)
    found = []
    for lr, own in rows.groupby("lr", sort=True):
        row: dict[str, Any] = {"lr": float(str(lr)), "runs": len(own)}
        names = (*MEASURED, "sharpness_ratio", "final_loss", *OUTCOMES, "steps_to_target")
        row |= mean_columns(own, names, LIMITS)
        if "lambda_max" in own:
            beside = background(own, slow)
            row["background"] = float(beside.mean())
            excess = (own["lambda_max"] - beside.clip(lower=0.0)) * own["steps"]
            row |= estimate_columns("growth", over_seeds(excess.to_numpy(dtype=np.float64)))
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
