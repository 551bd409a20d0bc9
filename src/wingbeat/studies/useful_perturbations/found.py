"""Tables of the study of useful perturbations: ensembles, their means, and base seeds."""

from __future__ import annotations

from math import nan
from typing import Any, Final

import numpy as np
import pandas as pd

from wingbeat.errors import DIVERGED, TOO_FEW_REPLICAS
from wingbeat.studies.left_over import correlated
from wingbeat.studies.three_families.found import coded, explained
from wingbeat.studies.useful_perturbations.measure import OF
from wingbeat.studies.useful_perturbations.plan import (
    ALL,
    AT_START,
    LONG,
    NUDGE,
    ORDER,
    START,
    WEIGHT,
)
from wingbeat.study.analysis import Analysis, Tables
from wingbeat.study.finished import done, mean_columns
from wingbeat.study.ranges import AT_LEAST_0, CORRELATION, DIFFERENCE, SHARE, Range

VALUES: Final = (
    "loss", "accuracy", "gain_loss", "gain_accuracy", "member_loss", "member_accuracy",
    "disagreement", "distance",
)  # fmt: skip
KEPT: Final = ("net", "perturbation", "time", "members", "seed", *VALUES)
"""Columns of every ensemble from which all else follows; ``single`` and ``long`` are single nets,
whose loss and accuracy stand in place of an ensemble's."""
SINGLE: Final = "single"
SEEDWISE: Final = {
    "over_long": "accuracy, ensemble that shares nothing less one net trained as long",
    "over_long_loss": "loss, ensemble that shares nothing less one net trained as long",
    "half_over_long": "accuracy, ensemble forked last, by order, less one net trained as long",
    "order": "share of the loss gained by another start",
    "nudge": "share of the loss gained by another start",
    "one_weight": "share of the loss gained by another start",
    "later": "rank correlation of the time of the fork and the ensemble's loss",
    "half_over_start": "loss, ensemble forked last, by order, less one that shares nothing",
    "larger_at_start": "loss gained, largest nudge at the start less smallest",
    "larger_late": "loss gained, largest nudge at the last fork less smallest",
    "time_over_kind": "share of the variance of the loss gained, time less kind",
    "apart_and_gain": "rank correlation of disagreement and loss gained",
}
"""One number a base seed, in words."""
LIMITS: Final[dict[str, Range]] = {
    **dict.fromkeys(("accuracy", "member_accuracy", "disagreement"), SHARE),
    **dict.fromkeys(("loss", "member_loss", "distance"), AT_LEAST_0),
    **dict.fromkeys(("gain_accuracy", "over_long", "half_over_long", "time_over_kind"), DIFFERENCE),
    **dict.fromkeys(("later", "apart_and_gain"), CORRELATION),
}
"""What numbers of an ensemble and of a base seed can be."""


def tables(found: Analysis) -> Tables:
    """Return every ensemble, means over base seeds, and the numbers of base seeds."""
    return tables_of(runs_of(done(found.study)))


def tables_of(runs: pd.DataFrame) -> Tables:
    """Return all tables from the ensembles; see ``KEPT``."""
    return {"runs": runs, "ensembles": ensembles(runs), "seeds": seeds_of(runs)}


def runs_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each ensemble and single net of the finished conditions."""
    found: list[dict[str, Any]] = []
    head = f"loss{OF}"
    names = [
        c.removeprefix(head)
        for c in map(str, rows.columns)
        if c.startswith(head) and not c.endswith(("_low", "_high", "_reason"))
    ]
    for row in rows.to_dict("records"):
        tags = {"net": row["net"], "seed": row["seed"]}
        long = bool(row["long"])
        alone = {"loss": row["single_loss"], "accuracy": row["single_accuracy"]}
        if row["time"] == 0.0:
            name = LONG if long else SINGLE
            found.append({**tags, "perturbation": name, "time": 0.0, "members": 1, **alone})
        if long:
            continue
        for name in names if row["time"] == 0.0 else [n for n in names if n not in AT_START]:
            own = {value: row[f"{value}{OF}{name}"] for value in VALUES}
            more = {"time": float(row["time"]), "members": int(row["members"])}
            found.append({**tags, "perturbation": name, **more, **own})
    order = ["net", "perturbation", "time", "seed"]
    return pd.DataFrame(found, columns=list(KEPT)).sort_values(order, ignore_index=True)


def ensembles(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row a net, perturbation and time: means over base seeds with intervals."""
    found = []
    for (net, name, time), own in runs.groupby(["net", "perturbation", "time"], sort=True):
        row: dict[str, Any] = {"net": net, "perturbation": name, "time": time}
        row |= {"members": int(own["members"].iloc[0]), "runs": len(own)}
        why = DIVERGED if row["members"] > 1 else TOO_FEW_REPLICAS  # one net has no members
        found.append(row | mean_columns(own, VALUES, LIMITS, reason=why))
    return pd.DataFrame(found)


def seeds_of(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row a net and base seed with the numbers of ``SEEDWISE``."""
    return pd.DataFrame(
        [
            {"net": net, "seed": seed, **of_seed(own)}
            for (net, seed), own in runs.groupby(["net", "seed"], sort=True)
        ]
    )


def of_seed(own: pd.DataFrame) -> dict[str, float]:
    """Return what one base seed says, from its ensembles; NaN where one is missing."""
    cells = own.set_index(["perturbation", "time"])
    forked = own[~own["perturbation"].isin([SINGLE, LONG, *AT_START])]
    nudges = sorted((n for n in set(forked["perturbation"]) if n.startswith(NUDGE)), key=size_of)
    late = float(forked["time"].max())

    def at(name: str, time: float, value: str) -> float:
        column: dict[Any, float] = cells[value].to_dict()
        return column.get((name, time), nan)

    start = at(START, 0.0, "gain_loss")
    gains = forked["gain_loss"].to_numpy(dtype=np.float64)
    parts = {name: coded(forked, name) for name in ("time", "perturbation")}
    return {
        "over_long": at(ALL, 0.0, "accuracy") - at(LONG, 0.0, "accuracy"),
        "over_long_loss": at(ALL, 0.0, "loss") - at(LONG, 0.0, "loss"),
        "half_over_long": at(ORDER, late, "accuracy") - at(LONG, 0.0, "accuracy"),
        "order": at(ORDER, 0.0, "gain_loss") / start,
        "nudge": at(nudges[0], 0.0, "gain_loss") / start,
        "one_weight": at(WEIGHT, 0.0, "gain_loss") / start,
        "later": later(forked),
        "half_over_start": at(ORDER, late, "loss") - at(ALL, 0.0, "loss"),
        "larger_at_start": at(nudges[-1], 0.0, "gain_loss") - at(nudges[0], 0.0, "gain_loss"),
        "larger_late": at(nudges[-1], late, "gain_loss") - at(nudges[0], late, "gain_loss"),
        "time_over_kind": explained(gains, [parts["time"]])
        - explained(gains, [parts["perturbation"]]),
        "apart_and_gain": correlated(forked["disagreement"], forked["gain_loss"]),
    }


def later(forked: pd.DataFrame) -> float:
    """Return the rank correlation of time and loss of the ensemble, its mean over perturbations."""
    each = [correlated(own["time"], own["loss"]) for _, own in forked.groupby("perturbation")]
    return float(np.mean(each))


def size_of(name: str) -> float:
    """Return the size in the name of a nudge.

    >>> size_of("nudge 0.01")
    0.01
    """
    return float(name.rpartition(" ")[2])
