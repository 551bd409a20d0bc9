"""Tables of the study of checkpoints: runs, checkpoints, what goes with what, and base seeds."""

from __future__ import annotations

from math import nan
from typing import Any, Final

import numpy as np
import pandas as pd

from wingbeat.errors import DIVERGED
from wingbeat.studies.left_over import correlated, left_over
from wingbeat.study.analysis import Analysis, Tables
from wingbeat.study.finished import done, estimate_columns, mean_columns, over_seeds
from wingbeat.study.ranges import AT_LEAST_0, CORRELATION, DIFFERENCE, SHARE, Range

SENSITIVITIES: Final = {
    "log_growth": "growth of a nudge",
    "exponent": "local exponent",
    "distance": "distance reached",
    "apart": "other answers of nudged copies",
    "barrier": "barrier to nudged copies",
    "sharpness": "sharpness",
}
"""Ways to say how sensitive training is from a checkpoint on, in words."""
USES: Final = {
    "gain_loss": "loss gained by averaging",
    "gain_accuracy": "accuracy gained by averaging",
    "average_accuracy": "accuracy of the average",
    "tuned_accuracy": "accuracy after fine-tuning",
}
"""What a checkpoint is good for, in words."""
OTHERS: Final = ("barrier_order", "accuracy_at", "member_loss", "member_accuracy", "average_loss")
VALUES: Final = (*SENSITIVITIES, *USES, *OTHERS)
KEPT: Final = ("net", "at", "seed", *VALUES)
"""Columns of every run from which all else follows."""
SEEDWISE: Final = {
    "last_over_least": "ln growth from the last checkpoint on, less the least of all others",
    "calmer": "change of ln growth from one checkpoint to the next",
    "growth_and_gain": "rank correlation of growth and loss gained by averaging",
    "growth_and_tuned": "rank correlation of growth and accuracy after fine-tuning",
    "beside_gain": "rank correlation at one checkpoint of growth and loss gained by averaging",
    "beside_tuned": "rank correlation at one checkpoint of growth and accuracy after fine-tuning",
    "lost_average": "accuracy of the average, best checkpoint less least sensitive one",
    "lost_tuned": "accuracy after fine-tuning, best checkpoint less least sensitive one",
    "over_last_tuned": "accuracy after fine-tuning, least sensitive checkpoint less last one",
}
"""One number a base seed, in words."""
LIMITS: Final[dict[str, Range]] = {
    **dict.fromkeys(
        ("apart", "average_accuracy", "tuned_accuracy", "accuracy_at", "member_accuracy"), SHARE
    ),
    **dict.fromkeys(
        ("distance", "barrier", "barrier_order", "sharpness", "member_loss", "average_loss"),
        AT_LEAST_0,
    ),
    **dict.fromkeys(("growth_and_gain", "growth_and_tuned", "beside_gain", "beside_tuned"),
                    CORRELATION),
    **dict.fromkeys(("gain_accuracy", "lost_average", "lost_tuned", "over_last_tuned"), DIFFERENCE),
}  # fmt: skip
"""What numbers of a run and of a base seed can be."""
OF_SEED: Final = (
    "last_over_least", "calmer", "growth_and_gain", "growth_and_tuned", "over_last_tuned",
)  # fmt: skip
"""Those that a base seed's own runs give."""


def tables(found: Analysis) -> Tables:
    """Return every run, the checkpoints' means, correlations, and the numbers of base seeds."""
    return tables_of(runs_of(done(found.study)))


def tables_of(runs: pd.DataFrame) -> Tables:
    """Return all tables from the runs; see ``KEPT``."""
    return {
        "runs": runs,
        "checkpoints": by_checkpoint(runs),
        "links": links(runs),
        "seeds": seeds_of(runs),
    }


def runs_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what is kept of the finished conditions."""
    return rows[list(KEPT)].sort_values(["net", "at", "seed"], ignore_index=True)


def by_checkpoint(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row a net and checkpoint: means over base seeds with intervals."""
    found = []
    for (net, at), own in runs.groupby(["net", "at"], sort=True):
        row: dict[str, Any] = {"net": net, "at": at, "runs": len(own)}
        found.append(row | mean_columns(own, VALUES, LIMITS, reason=DIVERGED))
    return pd.DataFrame(found)


def links(runs: pd.DataFrame) -> pd.DataFrame:
    """Return for each net, sensitivity and use their rank correlation within a base seed.

    ``along``: over checkpoints; ``beside``: of what checkpoint and base seed do not explain. Means
    over base seeds with intervals.
    """
    found = []
    for net, own in runs.groupby("net", sort=True):
        rests = {name: left_over(own, name, "at") for name in (*SENSITIVITIES, *USES)}
        for sensitivity in SENSITIVITIES:
            for use in USES:
                along, beside = [], []
                for _, one in own.groupby("seed", sort=True):
                    along.append(correlated(one[sensitivity], one[use]))
                    pair = (rests[name].loc[one.index] for name in (sensitivity, use))
                    beside.append(correlated(*pair))
                row: dict[str, Any] = {"net": net, "sensitivity": sensitivity, "use": use}
                row |= estimate_columns("along", over_seeds(np.array(along), within=CORRELATION))
                row |= estimate_columns("beside", over_seeds(np.array(beside), within=CORRELATION))
                found.append(row)
    return pd.DataFrame(found)


def seeds_of(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row a net and base seed with the numbers of ``SEEDWISE``."""
    found = []
    for net, own in runs.groupby("net", sort=True):
        names = ("log_growth", "gain_loss", "tuned_accuracy")
        rests = {name: left_over(own, name, "at") for name in names}
        for seed, one in own.groupby("seed", sort=True):
            rest = {name: rests[name].loc[one.index] for name in names}
            others = own[own["seed"] != seed]
            row: dict[str, Any] = {"net": net, "seed": seed, **of_seed(one.sort_values("at"))}
            row["beside_gain"] = correlated(rest["log_growth"], rest["gain_loss"])
            row["beside_tuned"] = correlated(rest["log_growth"], rest["tuned_accuracy"])
            row["lost_average"] = lost(one, others, "average_accuracy")
            row["lost_tuned"] = lost(one, others, "tuned_accuracy")
            found.append(row)
    return pd.DataFrame(found)


def of_seed(one: pd.DataFrame) -> dict[str, float]:
    """Return what one base seed says, from its runs by checkpoint; NaN where one broke down."""
    growth = one["log_growth"]
    least, last = least_sensitive(one), one.iloc[-1]
    if least is None:
        return dict.fromkeys(OF_SEED, nan)
    return {
        "last_over_least": float(growth.iloc[-1] - growth.iloc[:-1].min()),
        "calmer": float(np.polyfit(np.arange(len(growth)), growth, 1)[0]),
        "growth_and_gain": correlated(growth, one["gain_loss"]),
        "growth_and_tuned": correlated(growth, one["tuned_accuracy"]),
        "over_last_tuned": float(least["tuned_accuracy"] - last["tuned_accuracy"]),
    }


def least_sensitive(one: pd.DataFrame) -> pd.Series | None:
    """Return the run of the checkpoint from which a nudge grows least; None if one is unknown."""
    growth = one["log_growth"]
    if not np.isfinite(growth).all():
        return None
    return one.iloc[int(np.argmin(growth.to_numpy(dtype=np.float64)))]


def lost(one: pd.DataFrame, others: pd.DataFrame, use: str) -> float:
    """Return what the least sensitive checkpoint of a base seed gives away.

    The best checkpoint is that of the mean of the *other* base seeds: the best of a base seed's
    own numbers would be the luckiest one, and flatter itself.
    """
    means = others.groupby("at")[use].mean()
    least = least_sensitive(one)
    if least is None or not len(means) or not np.isfinite(means).all():
        return nan
    best = one[one["at"] == means.idxmax()][use]
    return float(best.iloc[0] - least[use]) if len(best) else nan
