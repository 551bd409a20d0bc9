"""What the study of stable settings reads off a run: barriers, accuracy, movement."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Any, Final

import torch

from wingbeat.studies.curvature import Measured, number

if TYPE_CHECKING:
    import pandas as pd

    from wingbeat.execution.result import Result

NOISES: Final = {"nudge": "gaussian", "order": "order"}
"""Name here, and beginning of the perturbation's label."""
KINDS: Final = {"": "barrier", "aligned_": "barrier_aligned", "error_": "barrier_error",
                "aligned_error_": "barrier_aligned_error"}  # fmt: skip
"""Beginning of a name here, and name of the scalar without its data."""
DATA: Final = ("train", "test")
PLACES: Final = tuple(
    f"{kind}{noise}_{data}" for kind in KINDS for noise in NOISES for data in DATA
)


def stability(result: Result) -> Measured:
    """Return barriers between reference and copies at the end, accuracy, and how far weights moved.

    Names: ``[aligned_][error_]<noise>_<data>``, the mean over copies of the barrier of the loss
    (or of the error) on training or test data after a nudge or another batch order;
    ``barrier`` and ``aligned`` the largest of the four of the loss, ``error`` of the error;
    ``test_accuracy``, ``train_loss`` and ``movement``, |w_end − w_start| / |w_start|, of the
    reference; ``disagreement`` of the copies with another order.
    """
    found = {
        f"{kind}{noise}_{data}": _barrier(result, begins, f"final_{scalar}_{data}")
        for kind, scalar in KINDS.items()
        for noise, begins in NOISES.items()
        for data in DATA
    }
    worst = {
        "barrier": _largest(found, ""),
        "aligned": _largest(found, "aligned_"),
        "error": _largest(found, "error_"),
    }
    table = result.table
    last = table[table["step"] == table["step"].max()]
    ends = {
        "test_accuracy": _reference(last, "accuracy"),
        "train_loss": _start_of_line(last),
        "disagreement": _barrier(result, "order", "final_disagreement"),
        "movement": movement(result),
    }
    return {name: number(value) for name, value in {**found, **worst, **ends}.items()}


def movement(result: Result) -> float:
    """Return how far the reference's weights moved from the first record to the last, relative."""
    states = (result.trajectory.at(result.trajectory.steps[i]).params for i in (0, -1))
    start, end = (torch.cat([w[0].double().flatten() for w in s.values()]) for s in states)
    return float((end - start).norm() / start.norm())


def _barrier(result: Result, begins: str, name: str) -> float:
    place = next(label for label in result if label.startswith(begins))
    entry: dict[str, Any] = result.summary.get(f"{place}/{name}", {})
    value = entry.get("value")
    return nan if value is None else float(value)


def _largest(found: dict[str, float], kind: str) -> float:
    values = torch.tensor([found[f"{kind}{noise}_{data}"] for noise in NOISES for data in DATA])
    return float(values.double().max())  # NaN if one of them is


def _start_of_line(last: pd.DataFrame) -> float:
    """Return the reference's loss on the training images that barriers are measured on."""
    rows = last[(last["metric"] == "line_loss_train") & (last["layer"] == "alpha=0")]
    return float(rows["value"].iloc[0]) if len(rows) else nan


def _reference(last: pd.DataFrame, metric: str) -> float:
    rows = last[(last["metric"] == metric) & (last["b"] == "reference")]
    return float(rows["value"].iloc[0]) if len(rows) else nan
