"""What the study of chaos at the edge reads off a run: how soon, how good."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Final

from wingbeat.errors import NOT_REACHED
from wingbeat.studies.chaos_at_edge.plan import TARGETS
from wingbeat.studies.curvature import Measured, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wingbeat.execution.result import Result

LEVELS: Final = tuple(sorted({*TARGETS.values(), 0.05, 0.15, 0.2}))
"""Training losses whose first step is noted."""


def outcomes(result: Result) -> Measured:
    """Return accuracy and loss on unseen digits at the end, and the steps to each training loss.

    Names: ``test_accuracy``, ``test_loss``, ``steps_to_<loss>``.
    """
    losses = result.trajectory.losses[:, 0].double().tolist()
    ends = {"test_accuracy": "accuracy", "test_loss": "eval_loss"}
    return {
        **{name: number(last(result, metric)) for name, metric in ends.items()},
        **{f"steps_to_{at:g}": number(first_below(losses, at), NOT_REACHED) for at in LEVELS},
    }


def last(result: Result, metric: str) -> float:
    """Return the last value of the reference; NaN where training broke down."""
    table = result.table
    rows = table[(table["metric"] == metric) & (table["b"] == "reference")]
    return float(rows.sort_values("step")["value"].iloc[-1]) if len(rows) else nan


def first_below(losses: Sequence[float], level: float) -> float:
    """Return the first update before which the loss is at most a level; NaN if there is none.

    >>> first_below([0.5, 0.2, 0.3, 0.1], 0.2), first_below([0.5], 0.2)
    (1.0, nan)
    """
    return next((float(i) for i, loss in enumerate(losses) if loss <= level), nan)
