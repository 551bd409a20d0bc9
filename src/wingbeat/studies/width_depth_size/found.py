"""Tables of the study of scaling: every nudge of every run, and exponents of each base seed."""

from __future__ import annotations

from math import nan
from typing import Any, Final

import numpy as np
import pandas as pd

from wingbeat.studies.width_depth_size.measure import READ
from wingbeat.study.analysis import Analysis, Tables
from wingbeat.study.finished import done, mean_columns
from wingbeat.study.ranges import AT_LEAST_0, DIFFERENCE, SHARE, Range
from wingbeat.typing import Array

NET: Final = ("activation", "width", "depth", "density", "mask")
KEPT: Final = (*NET, "seed", "test_accuracy", "train_loss")
VALUES: Final = (*READ, "left")
CELL: Final = (*NET, "size", "at")
MEANS: Final = ("log_ratio", "exponent", "disagreement", "barrier", "left", "test_accuracy")
FLOOR: Final = 1e-6
"""Barrier below which it is rounding: added before its logarithm is taken."""
SEEDWISE: Final = {
    "width": "exponent of growth in width",
    "width_matched": "exponent of growth in width, at one accuracy and training loss",
    "depth": "doublings of growth for each further layer",
    "size": "exponent of growth in the nudge's size",
    "barrier_size": "exponent of the barrier in the nudge's size",
    "barrier_width": "exponent of the barrier in width",
    "disagreement_width": "exponent of disagreement in width",
    "left_early": "share of copies that leave, nudged at the start less at a quarter of training",
    "sparse_minus_narrow": "growth against number of weights: exponent by density less by width",
    "pruned_minus_random": "doublings of growth, pruned less random mask",
}
"""One number an activation and base seed, in words."""
LIMITS: Final[dict[str, Range]] = {
    **dict.fromkeys(("disagreement", "left", "test_accuracy"), SHARE),
    "barrier": AT_LEAST_0,
    "left_early": DIFFERENCE,
}
"""What numbers of a nudge and of a base seed can be."""


def tables(found: Analysis) -> Tables:
    """Return every nudge, means by net and nudge, and the numbers of each base seed."""
    return tables_of(nudges_of(done(found.study)))


def tables_of(nudges: pd.DataFrame) -> Tables:
    """Return all tables from the nudges."""
    return {"nudges": nudges, "cells": cells(nudges), "seeds": seeds_of(nudges)}


def nudges_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row a condition and nudge, with what became of it."""
    places = [c.partition(":")[2] for c in map(str, rows) if c.startswith("ratio:")]
    found = []
    for place in (p for p in places if not p.endswith(("_low", "_high", "_reason"))):
        size, _, at = place.partition("@")
        own = rows[list(KEPT)].assign(size=float(size), at=int(at))
        found.append(own.assign(**{name: rows[f"{name}:{place}"] for name in VALUES}))
    return pd.concat(found).sort_values([*CELL, "seed"], ignore_index=True)


def cells(nudges: pd.DataFrame) -> pd.DataFrame:
    """Return one row a net and nudge: means over base seeds, of growth the geometric one."""
    found = []
    for place, own in nudges.groupby(list(CELL), sort=True):
        row: dict[str, Any] = dict(zip(CELL, place, strict=True))
        logs = own.assign(log_ratio=np.log(own["ratio"]))
        found.append(row | mean_columns(logs, MEANS, LIMITS))
    return pd.DataFrame(found)


def seeds_of(nudges: pd.DataFrame) -> pd.DataFrame:
    """Return one row an activation and base seed with the numbers of ``SEEDWISE``."""
    logs = nudges.assign(
        log_ratio=np.log(nudges["ratio"]),
        log_barrier=np.log(nudges["barrier"].clip(lower=0) + FLOOR),
        log_disagreement=np.log(nudges["disagreement"] + 1 / 397),  # half an image in 397: never 0
        log_width=np.log(nudges["width"]),
        log_size=np.log(nudges["size"]),
    )
    return pd.DataFrame(
        [
            {"activation": activation, "seed": seed, **of_seed(own)}
            for (activation, seed), own in logs.groupby(["activation", "seed"], sort=True)
        ]
    )


def of_seed(own: pd.DataFrame) -> dict[str, float]:
    """Return what one base seed says of one activation."""
    dense = own[(own["density"] == 1.0) & (own["at"] == 0)]
    small = dense[dense["size"] < dense["size"].max()]
    largest = dense[dense["size"] == dense["size"].max()]
    every = own[(own["density"] == 1.0) & (own["size"] == own["size"].max())]
    matched = ("test_accuracy", "train_loss")
    early = every[every["at"] == 0]["left"].mean() - every[every["at"] == every["at"].max()][
        "left"].mean()  # fmt: skip
    return {
        "width": slope(dense, "log_ratio", "log_width", ("depth", "size")),
        "width_matched": slope(dense, "log_ratio", "log_width", ("depth", "size"), matched),
        "depth": slope(dense, "log_ratio", "depth", ("width", "size")) / np.log(2.0),
        "size": slope(dense, "log_ratio", "log_size", ("width", "depth")),
        "barrier_size": slope(dense, "log_barrier", "log_size", ("width", "depth")),
        "barrier_width": slope(largest, "log_barrier", "log_width", ("depth",)),
        "disagreement_width": slope(small, "log_disagreement", "log_width", ("depth", "size")),
        "left_early": float(early),
        "sparse_minus_narrow": sparse_minus_narrow(own[own["mask"] != "pruned"]),
        "pruned_minus_random": pruned_minus_random(own),
    }


def slope(
    rows: pd.DataFrame,
    value: str,
    along: str,
    within: tuple[str, ...],
    beside: tuple[str, ...] = (),
) -> float:
    """Return the common slope of a value along a quantity within groups, by least squares.

    Args:
        rows: one a nudge.
        value: column to explain.
        along: column whose slope is returned.
        within: columns that make groups, each with a level of its own.
        beside: columns that are given a slope too, so that they are held constant.

    Returns:
        NaN where a value is not finite, or the quantity does not vary within a group.

    Example:
        >>> rows = pd.DataFrame({"y": [1.0, 3.0, 11.0, 13.0], "x": [0, 1, 0, 1], "g": [0, 0, 1, 1]})
        >>> round(slope(rows, "y", "x", ("g",)), 9)
        2.0
    """
    columns = [value, along, *beside]
    if not len(rows) or not np.isfinite(rows[columns].to_numpy(dtype=np.float64)).all():
        return nan
    away = rows[columns].astype(float) - rows.groupby(list(within))[columns].transform("mean")
    x: Array = away[[along, *beside]].to_numpy()
    if np.linalg.matrix_rank(x) < x.shape[1]:
        return nan
    return float(np.linalg.lstsq(x, away[value].to_numpy(), rcond=None)[0][0])


def sparse_minus_narrow(own: pd.DataFrame) -> float:
    """Return how growth falls with the number of weights, by density less by width.

    Both at two hidden layers: sparse nets against the full one of their width, and full nets of
    all widths. 0 where only the number counts; NaN without sparse nets.
    """
    two = own[(own["depth"] == 2) & (own["at"] == 0)].assign(log_weights=weights_log)
    sparse = two[two["width"] == 64]
    if sparse["density"].nunique() < 2:
        return nan
    narrow = two[two["density"] == 1.0]
    by_density, by_width = (
        slope(part, "log_ratio", "log_weights", ("size",)) for part in (sparse, narrow)
    )
    return by_density - by_width


def pruned_minus_random(own: pd.DataFrame) -> float:
    """Return how many doublings more a nudge grows in a pruned net than in a random sparse one.

    The mean over densities and sizes that both have, nudged at the start; NaN if there are none.
    """
    sparse = own[(own["density"] != 1.0) & (own["at"] == 0)]
    wide = sparse.pivot_table(index=["density", "size"], columns="mask", values="log_ratio")
    if not {"pruned", "random"} <= set(wide.columns):
        return nan
    return float((wide["pruned"] - wide["random"]).mean() / np.log(2.0))


def weights_log(rows: pd.DataFrame) -> pd.Series:
    """Return the logarithm of the number of weights of nets with two hidden layers."""
    width, density = rows["width"], rows["density"]
    count: pd.Series = np.log(density * (64 * width + width**2) + 12 * width + 10)
    return count
