"""What the study of scaling reads off a run: growth, disagreement, barrier of each nudge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from wingbeat.studies.curvature import Measured, number

if TYPE_CHECKING:
    from wingbeat.execution.result import Result

BASIN: Final = 0.02
"""Barrier of the training error above which a copy has left its reference's basin."""
READ: Final = {
    "ratio": "convergence_ratio",
    "exponent": "lyapunov",
    "disagreement": "final_disagreement",
    "barrier": "final_barrier_train",
}
"""Name here, and in the summary of a run."""


def sensitivity(result: Result) -> Measured:
    """Return what became of each nudge as ``name:size@step``, and the reference's accuracy.

    Names: those of ``READ``, and ``left``, the share of copies beyond ``BASIN``.
    """
    table = result.table
    last = table[table["step"] == table["step"].max()]
    own = last[(last["metric"] == "accuracy") & (last["b"] == "reference")]
    loss = last[(last["metric"] == "train_loss") & (last["b"] == "reference")]
    found: Measured = {
        "test_accuracy": number(float(own["value"].iloc[0])),
        "train_loss": number(float(loss["value"].iloc[0])),
    }
    for nudge in result:
        place = nudge.partition("-")[2]
        found |= {f"{k}:{place}": _summary(result, f"{nudge}/{n}") for k, n in READ.items()}
        found[f"left:{place}"] = number(left(last, nudge))
    return found


def left(last: pd.DataFrame, nudge: str) -> float:
    """Return the share of a nudge's copies whose barrier of the error is above ``BASIN``."""
    rows = last[(last["metric"] == "barrier_error_train") & (last["a"] == "reference")]
    values = rows[rows["perturbation"] == nudge]["value"]
    known = len(values) and values.notna().all()
    return float((values > BASIN).mean()) if known else float("nan")


def _summary(result: Result, name: str) -> dict[str, Any]:
    value = result.summary[name]["value"]
    reason = result.summary[name].get("reason", "")
    return number(float("nan") if value is None else float(value), reason)
