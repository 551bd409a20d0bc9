"""What follows from what is known: the next round of the search, then its frontier again."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from wingbeat.studies.stable_at_start.plan import (
    CHOSEN,
    FRESH,
    SEARCH,
    StablePlan,
    condition_of,
    fresh_study,
    trial_condition,
)
from wingbeat.study.condition import Condition
from wingbeat.study.outcome import StudyResult
from wingbeat.study.search import Outcome, replay

OBJECTIVES = ("barrier", "test_accuracy")


def further(plan: StablePlan, study: StudyResult) -> list[Condition]:
    """Return the first round of the search that is not known; after it what is run again."""
    rows = study.conditions
    own = rows[rows["phase"] == SEARCH].set_index("setting")

    def known(condition: Condition) -> Outcome | None:
        name = condition.tags["setting"]
        return outcome(own.loc[name]) if name in own.index else None

    left = replay(
        fresh_study(plan),
        lambda trial: trial_condition(plan, trial),
        known,
        trials=plan.trials,
        batch=plan.round,
    )
    return left or again(plan, rows)


def outcome(row: Any) -> Outcome | None:
    """Return what a trial gave, from its row of the table of conditions; None if not run."""
    if row["status"] == "done":
        return [float(row[name]) for name in OBJECTIVES]
    return None if row["status"] == "not run" else str(row["status"])


def again(plan: StablePlan, rows: pd.DataFrame) -> list[Condition]:
    """Return the chosen settings of the frontier with base seeds that the search has not seen."""
    trials = rows[(rows["phase"] == SEARCH) & (rows["status"] == "done")]
    return [
        condition_of(plan, json.loads(row["arguments"]), CHOSEN, row["setting"], FRESH + seed)
        for _, row in picked(trials, plan.floor, plan.chosen).iterrows()
        for seed in range(plan.seeds)
    ]


def picked(trials: pd.DataFrame, floor: float, most: int) -> pd.DataFrame:
    """Return settings of the frontier that have learned, evenly spaced from calm to accurate.

    Args:
        trials: with "barrier" and "test_accuracy".
        floor: accuracy that counts as having learned.
        most: how many at most; both ends are among them.
    """
    front = frontier(trials[trials["test_accuracy"] >= floor])
    if len(front) <= most:
        return front
    return front.iloc[np.linspace(0, len(front) - 1, most).round().astype(int)]


def frontier(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that no other beats in barrier and accuracy, from calm to accurate.

    >>> rows = pd.DataFrame({"barrier": [0.0, 0.2, 0.1], "test_accuracy": [0.8, 0.9, 0.95]})
    >>> frontier(rows)["test_accuracy"].tolist()
    [0.8, 0.95]
    """
    ordered = rows.dropna(subset=list(OBJECTIVES)).sort_values(
        ["barrier", "test_accuracy"], ascending=[True, False], kind="stable"
    )
    best = ordered["test_accuracy"].cummax().shift(fill_value=-np.inf)
    front: pd.DataFrame = ordered[ordered["test_accuracy"] > best]
    return front
