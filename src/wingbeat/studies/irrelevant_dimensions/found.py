"""Tables of the study of irrelevant dimensions: runs, nets, and one row a base seed and moment."""

from __future__ import annotations

from math import nan
from typing import Any, Final

import numpy as np
import pandas as pd

from wingbeat.study.analysis import Analysis, Tables
from wingbeat.study.finished import done, mean_columns
from wingbeat.study.ranges import AT_LEAST_0, SHARE, Range

COUNTS: Final = ("exact", "idle", "growing", "moving", "irrelevant", "irrelevant_strict")
KEPT: Final = (
    "net", "family", "at", "seed", "weights", *COUNTS, "growth_dimension", "loss_dimension",
    "top_growth", "test_accuracy",
)  # fmt: skip
MEANS: Final = (
    "share_irrelevant",
    "share_irrelevant_strict",
    "share_growing",
    "share_moving",
    "growth_dimension",
    "loss_dimension",
    "top_growth",
    "test_accuracy",
)
LIMITS: Final[dict[str, Range]] = {
    **dict.fromkeys((m for m in MEANS if m.startswith("share_")), SHARE),
    **dict.fromkeys(("growth_dimension", "loss_dimension", "top_growth"), AT_LEAST_0),
    "test_accuracy": SHARE,
}
"""What the numbers of a net can be."""
WIDTHS: Final = ("dense 4", "dense 8", "dense 16")
DEPTHS: Final = ("dense 8", "dense 8-8", "dense 8-8-8")


def tables(found: Analysis) -> Tables:
    """Return every run, the means of each net, and the numbers of each base seed."""
    rows = done(found.study)[list(KEPT)].sort_values(["net", "at", "seed"], ignore_index=True)
    return tables_of(rows)


def tables_of(runs: pd.DataFrame) -> Tables:
    """Return all tables from the runs."""
    shares = with_shares(runs)
    return {"runs": runs, "nets": nets(shares), "seeds": seeds_of(runs)}


def seeds_of(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row a base seed and moment, from the runs: what claims are judged by."""
    return by_seed(with_shares(runs))


def with_shares(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with counts as shares of the number of weights."""
    return runs.assign(**{f"share_{name}": runs[name] / runs["weights"] for name in COUNTS})


def nets(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row a net and moment: means over base seeds, 95 %."""
    found = []
    for (net, family, at), own in rows.groupby(["net", "family", "at"], sort=True):
        row: dict[str, Any] = {"net": net, "family": family, "at": at}
        row |= {name: float(own[name].mean()) for name in ("weights", *COUNTS)}
        found.append(row | mean_columns(own, MEANS, LIMITS))
    return pd.DataFrame(found).sort_values(["at", "family", "weights"], ignore_index=True)


def by_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row a base seed and moment."""
    return pd.DataFrame(
        [
            {"at": at, "seed": seed, **of_seed(own.set_index("net"))}
            for (at, seed), own in rows.groupby(["at", "seed"], sort=True)
        ]
    )


def of_seed(own: pd.DataFrame) -> dict[str, float]:
    """Return what one base seed says at one moment.

    Shares of irrelevant directions by family (the mean over its nets), how much of them exact
    symmetries explain, what width and depth add to the share, and the exponent of the growth's
    dimension in the number of weights, over widths.
    """
    by_family = own.groupby("family")
    found: dict[str, float] = {}
    for family, part in by_family:
        found[f"irrelevant_{family}"] = float(part["share_irrelevant"].mean())
        found[f"strict_{family}"] = float(part["share_irrelevant_strict"].mean())
        found[f"exact_{family}"] = float((part["exact"] / part["irrelevant"]).mean())
    found["growth_exponent"] = exponent(own["weights"], own["growth_dimension"], WIDTHS)
    share = {net: float(own["share_irrelevant"].get(net, nan)) for net in (*WIDTHS, *DEPTHS)}
    found["deeper"] = share[DEPTHS[-1]] - share[DEPTHS[0]]
    found["wider"] = share[WIDTHS[-1]] - share[WIDTHS[1]]  # width 4 does not always train
    for family in ("cnn", "transformer"):
        less = found.get("irrelevant_dense", nan)
        found[f"{family}_less_dense"] = found.get(f"irrelevant_{family}", nan) - less
    return found


def exponent(weights: pd.Series, values: pd.Series, nets: tuple[str, ...]) -> float:
    """Return the slope of ln values against ln weights over some nets; NaN of fewer than two."""
    there = [net for net in nets if net in weights.index]
    if len(there) < 2 or (values[there] <= 0).any():
        return nan
    x, y = (np.log(s[there].to_numpy(dtype=np.float64)) for s in (weights, values))
    return float(np.polyfit(x, y, 1)[0])
