"""What the study of phases reads off each finished run: curves, and when what ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from wingbeat.errors import CONSTANT, NOT_REACHED
from wingbeat.studies.curvature import Measured, number

if TYPE_CHECKING:
    from wingbeat.execution.result import Result

CURVES: Final = (
    "train_loss", "accuracy", "local_elasticity", "kernel_from_start", "kernel_motion",
    "kernel_alignment", "unit_drift", "unit_drift_step", "kernel_drift_step",
    "activation_flips_step", "unit_cosine_start", "nc1", "drift_loss_change",
)  # fmt: skip
"""Rows of the reference, as means over layers, that are stored along training."""
SETTLED: Final = 0.1
"""Share of its largest motion per step below which the kernel counts as settled."""
BASIN: Final = 0.02
"""Largest barrier of the training error between copies of one basin."""


def along(result: Result) -> Measured:
    """Return the reference's curves as ``name/step``, and what is read off them."""
    curves = {name: curve(result.table, name) for name in CURVES}
    found: dict[str, Any] = {
        f"{name}/{step}": number(float(value))
        for name, own in curves.items()
        for step, value in own.items()
    }
    return {**found, **marks(curves), "onset": onset(result.table)}


def curve(table: pd.DataFrame, name: str) -> pd.Series:
    """Return a row of the reference without a layer, by step, where it has a value."""
    own = table[(table["metric"] == name) & (table["b"] == "reference") & (table["layer"] == "")]
    values: pd.Series = own.set_index("step")["value"].dropna().sort_index()
    return values


def marks(curves: dict[str, pd.Series]) -> Measured:
    """Return when what ends, as a share of training, and the numbers that claims are about."""
    loss, flips = curves["train_loss"], curves["activation_flips_step"]
    end = float(loss.index[-1])
    late = loss.index[-1] * 0.75
    fall = loss.iloc[0] - loss.iloc[-1]
    half = loss.index[loss <= loss.iloc[0] - fall / 2]
    change = curves["drift_loss_change"]
    drift = curves["unit_drift_step"]
    first, last = drift[drift.index <= end / 4].iloc[1:], drift[drift.index > late]
    early = flips[flips.index <= end / 4].sum() / flips.sum() if flips.sum() else np.nan
    elastic = curves["local_elasticity"]
    return {
        "first_fall": number(half[0] / end if len(half) else np.nan, NOT_REACHED),
        "kernel_settled": number(settled(curves["kernel_motion"]) / end, NOT_REACHED),
        "flips_early": number(float(early), CONSTANT),
        "elasticity_gain": number(float(elastic.iloc[-1] - elastic.iloc[0])),
        "elastic_separable": number(agreement(elastic, curves["accuracy"]), CONSTANT),
        "late_drift": number(float(last.mean() / first.mean()), CONSTANT),
        "late_loss": number(abs(float(change[change.index > late].sum())) / fall, CONSTANT),
        "turned": number(float(curves["unit_cosine_start"].iloc[-1])),
        "collapse": number(float(curves["nc1"].iloc[-1] / curves["nc1"].iloc[0]), CONSTANT),
    }


def settled(motion: pd.Series) -> float:
    """Return the first recorded step after which motion per step stays small; NaN if none.

    >>> settled(pd.Series([0.0, 1.0, 0.01, 0.02], index=[0, 10, 20, 30]))
    10.0
    """
    steps = motion.index.to_numpy(dtype=float)
    speed = motion.to_numpy()[1:] / np.diff(steps)
    quiet = speed <= SETTLED * speed.max(initial=0.0)
    late = [i for i in range(len(quiet)) if quiet[i:].all()]
    return float(steps[late[0]]) if late else float("nan")


def agreement(first: pd.Series, second: pd.Series) -> float:
    """Return the rank correlation of two curves over the records that both have.

    >>> agreement(pd.Series([1.0, 2.0, 3.0]), pd.Series([0.1, 0.5, 0.6]))
    1.0
    """
    both = first.index.intersection(second.index)
    if len(both) < 3 or first[both].nunique() < 2 or second[both].nunique() < 2:
        return float("nan")
    return round(float(spearmanr(first[both], second[both]).statistic), 12)


def onset(table: pd.DataFrame) -> dict[str, Any]:
    """Return the first fork, as a share of training, from which on all copies share a basin."""
    end = int(table["step"].max())
    own = table[(table["metric"] == "barrier_error_train") & (table["step"] == end)]
    own = own[(own["a"] == "reference") & (own["b"] != "null")]
    at = own["perturbation"].str.rpartition("@")[2].astype(int)
    inside = (own["value"] <= BASIN).groupby(at).all().sort_index()
    stable = [step for step in inside.index if inside[inside.index >= step].all()]
    return number(stable[0] / end if stable else float("nan"), NOT_REACHED)
