"""The paper's claims about alignment, representations and ensembles."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from wingbeat.studies.butterfly.rulings import claim, over_seeds, ratio
from wingbeat.study.ranges import CORRELATION
from wingbeat.study.verdicts import Claim, judge

REDUCED: Final = 0.8
"""Share of a barrier that may be left where alignment is said to reduce it."""
FEWEST_CELLS: Final = 3
"""Cells that a correlation over cells needs."""


def matching(own: pd.DataFrame) -> Claim:
    """Judge whether weight matching leaves the barriers as high as they were.

    Args:
        own: values of the standard recipe; see ``found.VALUES``.
    """
    aligned, raw = (
        own[own["quantity"] == name] for name in ("barrier_aligned_train", "barrier_train")
    )
    found = ratio(aligned, raw) if len(aligned) else None
    return claim(
        "weight-matching",
        "Weight matching does not reduce the barrier.",
        "qualitative",
        found,
        judge(found, REDUCED, above=True),
        "Training-loss barrier after alignment of the replica to its reference ÷ before, over all "
        f"cells; reduced: below {REDUCED:g}.",
    )


def turned(own: pd.DataFrame) -> Claim:
    """Judge whether ensembles of replicas whose representations have turned farther gain more.

    Args:
        own: values of the standard recipe; see ``found.VALUES``.
    """
    correlations = [
        value
        for _, rows in own.groupby("seed")
        if (value := _correlation(rows, "angular_cka", "ensemble_loss_gain")) is not None
    ]
    found = over_seeds(correlations, CORRELATION)
    return claim(
        "cka-ensemble",
        "CKA dissimilarity correlates positively with the gain of ensembles.",
        "positive (qualitative; not for ViT on CIFAR-100)",
        found,
        judge(found, 0.0, above=True),
        "Correlation over cells of the mean angle between representations (all layers, replica to "
        "reference) with the gain in loss of the ensemble of the cell's replicas, averaged over "
        "base seeds; −1 to 1.",
    )


def _correlation(rows: pd.DataFrame, first: str, second: str) -> float | None:
    """Return the correlation over cells of two quantities' means; None without one."""
    places = ["kind", "size", "time"]
    means = rows[rows["quantity"].isin((first, second))].pivot_table(
        index=places, columns="quantity", values="value", aggfunc=lambda v: v.mean(skipna=False)
    )
    if not {first, second} <= set(means.columns):
        return None
    pairs = means[[first, second]].dropna().to_numpy(dtype=float)
    if len(pairs) < FEWEST_CELLS or (pairs.std(axis=0) == 0).any():
        return None
    return float(np.corrcoef(pairs.T)[0, 1])
