"""What the study of useful perturbations reads off a run: what each ensemble gains."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Final

from wingbeat.replicas.fork import REFERENCE
from wingbeat.studies.curvature import Measured, number

if TYPE_CHECKING:
    import pandas as pd

    from wingbeat.execution.result import Result

OF: Final = " of "
"""Between a number and the perturbation that it is of."""
PER_COPY: Final = {
    "member_loss": "eval_loss",
    "member_accuracy": "accuracy",
    "disagreement": "disagreement",
    "distance": "relative_l2",
}
"""Number and the metric whose mean over members at the end it is."""


def ensembles(result: Result) -> Measured:
    """Return of every perturbation what the mean of its copies' probabilities is, and gains.

    Names: ``<number> of <perturbation>`` with the numbers ``loss``, ``accuracy`` (of the ensemble),
    ``gain_loss``, ``gain_accuracy`` (over its members' mean), ``member_loss``, ``member_accuracy``,
    ``disagreement`` and ``distance`` (to the reference, mean over copies, the latter over the norm
    of the weights); and those of ``single``.
    """
    found = single(result)
    for told in result.perturbations:
        name = str(told["name"])
        own = numbers_of(result.table, name, result.steps[-1])
        found |= {f"{what}{OF}{name}": number(value) for what, value in own.items()}
    return found


def single(result: Result) -> Measured:
    """Return the reference at the end: ``single_loss``, ``single_accuracy``."""
    table, end = result.table, result.steps[-1]
    return {
        "single_loss": number(at_end(table, "eval_loss", "b", REFERENCE, end)),
        "single_accuracy": number(at_end(table, "accuracy", "b", REFERENCE, end)),
    }


def numbers_of(table: pd.DataFrame, name: str, end: int) -> dict[str, float]:
    """Return what the copies of a perturbation and their ensemble are at a step."""
    own = table[table["perturbation"] == name]
    found = {what: at_end(own, metric, "a", "", end) for what, metric in PER_COPY.items()}
    for row in ("loss", "accuracy"):
        gain = at_end(own, f"ensemble_{row}_gain", "b", "", end)
        found[f"gain_{row}"] = gain
        # A gain is what an ensemble is better by: less in loss, more in accuracy.
        sign = -1.0 if row == "loss" else 1.0
        found[row] = found[f"member_{row}"] + sign * gain
    return found


def at_end(table: pd.DataFrame, metric: str, column: str, value: str, end: int) -> float:
    """Return the mean of a metric's rows at a step; NaN where there is none.

    A ``value`` of "" takes every row.
    """
    rows = table[(table["metric"] == metric) & (table["layer"] == "") & (table["step"] == end)]
    rows = rows[rows[column] == value] if value else rows
    return float(rows["value"].mean()) if len(rows) else nan
