"""Tables of the study of chaos at the edge: every run, every rate, and one row a base seed."""

from __future__ import annotations

from math import nan
from typing import Any, Final

import numpy as np
import pandas as pd

from wingbeat.errors import DIVERGED, NOT_REACHED
from wingbeat.studies.chaos_at_edge.plan import TARGETS
from wingbeat.studies.left_over import correlated, left_over
from wingbeat.studies.lr_phases.claims import E_FOLD, background
from wingbeat.study.analysis import Analysis, Tables
from wingbeat.study.finished import done, mean_columns
from wingbeat.study.ranges import AT_LEAST_0, CORRELATION, DIFFERENCE, SHARE, Range

KEPT: Final = (
    "net", "lr", "seed", "steps", "lambda_max", "sharpness_ratio", "final_loss", "test_accuracy",
    "test_loss", "steps_to_target",
)  # fmt: skip
"""Columns of every run from which all else follows."""
MEANS: Final = (
    "lambda_max", "growth", "sharpness_ratio", "final_loss", "test_accuracy", "steps_to_target",
    "time_to_target",
)  # fmt: skip
AT_EDGE: Final = 0.95
"""Late sharpness ÷ threshold from which on a run is at its edge: it hovers within some per cent."""
SEEDWISE: Final = {
    "rates_apart": "doublings from the rate of the edge to that of chaos",
    "growth_of_fastest": "e-folds of a nudge, at the rate that is first at the loss",
    "speed": "doublings of speed in updates, chaotic over laminar",
    "speed_in_time": "doublings of speed in η × updates, chaotic over laminar",
    "gain": "accuracy, best chaotic less best laminar",
    "gain_at_edge": "mean accuracy at the edge, chaotic less laminar",
    "growth_and_accuracy": "correlation of growth and accuracy at one rate",
    "growth_and_steps": "correlation of growth and time to the loss at one rate",
}
"""One number a base seed, in words."""
LIMITS: Final[dict[str, Range]] = {
    "test_accuracy": SHARE,
    **dict.fromkeys(("final_loss", "steps_to_target", "time_to_target"), AT_LEAST_0),
    **dict.fromkeys(("gain", "gain_at_edge"), DIFFERENCE),
    **dict.fromkeys(("growth_and_accuracy", "growth_and_steps"), CORRELATION),
}
"""What numbers of a rate and of a base seed can be."""


def tables(found: Analysis) -> Tables:
    """Return every run, the means by rate, and the numbers of each base seed."""
    return tables_of(runs_of(done(found.study)))


def tables_of(runs: pd.DataFrame) -> Tables:
    """Return all tables from the runs; see ``KEPT``."""
    rows = with_growth(runs)
    return {"runs": runs, "rates": by_rate(rows), "seeds": by_seed(rows)}


def seeds_of(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row a net and base seed, from the runs: what claims are judged by."""
    return by_seed(with_growth(runs))


def runs_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what is kept of the finished conditions."""
    columns = [f"steps_to_{TARGETS[net]:g}" for net in rows["net"]]
    pairs = zip(rows.to_dict("records"), columns, strict=True)
    reached = [row.get(column, nan) for row, column in pairs]
    return rows.assign(steps_to_target=np.array(reached, dtype=np.float64))[list(KEPT)]


def with_growth(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with the e-folds that a nudge grows beyond the background, and the phase."""
    parts = []
    for _, own in runs.groupby("net", sort=False):
        slow = own[own["lr"] == own["lr"].min()]
        beside = background(own, slow).clip(lower=0.0)
        growth = (own["lambda_max"] - beside) * own["steps"]
        finite = np.isfinite(own["final_loss"]) & np.isfinite(growth)
        growth = growth.where(finite)
        phase = np.where(finite, np.where(growth > E_FOLD, "chaotic", "laminar"), "divergent")
        time = own["lr"] * own["steps_to_target"]
        parts.append(own.assign(growth=growth, phase=phase, time_to_target=time))
    return pd.concat(parts) if parts else runs


def by_rate(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row a net and rate: how many runs in which phase, and means over base seeds."""
    found = []
    for (net, lr), own in rows.groupby(["net", "lr"], sort=True):
        row: dict[str, Any] = {"net": net, "lr": lr, "runs": len(own)}
        row |= {p: int((own["phase"] == p).sum()) for p in ("laminar", "chaotic", "divergent")}
        why = DIVERGED if row["divergent"] else NOT_REACHED
        found.append(row | mean_columns(own, MEANS, LIMITS, reason=why))
    return pd.DataFrame(found)


def by_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row a net and base seed with the numbers of ``SEEDWISE``."""
    found = []
    going = rows[rows["phase"] != "divergent"]
    going = going.assign(log_steps=np.log(going["steps_to_target"]))
    for net, own in going.groupby("net", sort=True):
        rests = {n: left_over(own, n, "lr") for n in ("growth", "test_accuracy", "log_steps")}
        for seed, one in own.groupby("seed", sort=True):
            row: dict[str, Any] = {"net": net, "seed": seed, **of_seed(one.sort_values("lr"))}
            for name, other in (("accuracy", "test_accuracy"), ("steps", "log_steps")):
                pair = rests["growth"].loc[one.index], rests[other].loc[one.index]
                row[f"growth_and_{name}"] = correlated(*pair)
            found.append(row)
    return pd.DataFrame(found)


def of_seed(one: pd.DataFrame) -> dict[str, float]:
    """Return what one base seed says, from its runs by rate; NaN where a phase is missing."""
    calm, wild = (one[one["phase"] == p] for p in ("laminar", "chaotic"))
    at_edge = one[one["sharpness_ratio"] >= AT_EDGE]
    known = one[np.isfinite(one["steps_to_target"])]
    fastest = known.loc[known["steps_to_target"].idxmin()] if len(known) else None

    def doublings(column: str) -> float:
        slow, fast = calm[column].min(), wild[column].min()
        return float(np.log2(slow / fast)) if np.isfinite([slow, fast]).all() else nan

    apart = np.log2(wild["lr"].min() / at_edge["lr"].min()) if len(wild) * len(at_edge) else nan
    return {
        "rates_apart": float(apart),
        "growth_of_fastest": nan if fastest is None else float(fastest["growth"]),
        "speed": doublings("steps_to_target"),
        "speed_in_time": doublings("time_to_target"),
        "gain": float(wild["test_accuracy"].max() - calm["test_accuracy"].max()),
        "gain_at_edge": float(
            wild["test_accuracy"].mean()
            - calm[calm["sharpness_ratio"] >= AT_EDGE]["test_accuracy"].mean()
        ),
    }
