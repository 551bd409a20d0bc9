"""The conjectures of Jastrzebski et al. (2020), tested by rank correlation.

A larger learning rate or a smaller batch leads to a smaller largest λ_K along training, and to a
better conditioned K; here also to a smaller largest λ_H.
"""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from wingbeat.report.figures.estimates import estimate_text
from wingbeat.stats import Estimate
from wingbeat.studies.needed import of_groups
from wingbeat.study.analysis import Analysis, Tables
from wingbeat.study.correlation import correlate
from wingbeat.study.finished import done, estimate_of
from wingbeat.study.verdicts import UNDETERMINED, Claim, Verdict, judge

WITH_BATCH: Final = {"lambda_k_most": 1, "conditioning": -1, "lambda_h_most": 1}
"""Sign that each quantity's correlation with the batch size has by the conjectures; with the
learning rate it has the other."""
CELLS: Final = "cells of rate and batch"
"""What an interval counts: base seeds of one cell are no independent points."""
NAMES: Final = {
    "lambda_k_most": "largest λ_K",
    "conditioning": "conditioning",
    "lambda_h_most": "largest λ_H",
    "lr": "learning rate",
    "batch_size": "batch size",
}


def tables(found: Analysis) -> Tables:
    """Return the conjectured trends with their rulings, written as ``conjectures.csv``."""
    return {"conjectures": conjectures(done(found.study))}


def tested(found: Analysis) -> tuple[Claim, ...]:
    """Return one claim for each quantity and axis."""
    return tuple(_tested(row) for _, row in found.tables["conjectures"].iterrows())


def _tested(row: pd.Series[Any]) -> Claim:
    # Judged anew: the word in a table has lost how sure it is.
    verdict = ruling(row["expected"], row)
    return Claim(
        f"{row['outcome']}-{row['measured']}".replace("_", "-"),
        f"{_upper(NAMES[row['outcome']])} {'grows' if row['expected'] > 0 else 'falls'} "
        f"with the {NAMES[row['measured']]}.",
        "conjectured (Jastrzebski et al. 2020)",
        f"Spearman's correlation {estimate_text(_estimate(row))} over {int(row['n'])} conditions",
        verdict,
        of_groups(_estimate(row), 0.0, CELLS)()[0] if verdict == UNDETERMINED else "",
    )


def conjectures(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rank correlations of λ_K and conditioning with learning rate and batch size.

    Expected where the conjectures hold: largest λ_K and λ_H fall with the learning rate and grow
    with the batch; conditioning the other way round.

    Args:
        rows: finished conditions.
    """
    cells = rows.assign(
        cell=[f"{a}/{b}" for a, b in zip(rows["lr"], rows["batch_size"], strict=True)]
    )
    found = correlate(cells, ["lr", "batch_size"], list(WITH_BATCH), group="cell")
    pairs = zip(found["measured"], found["outcome"], strict=True)
    signs = [WITH_BATCH[b] * (1 if a == "batch_size" else -1) for a, b in pairs]
    rulings = [ruling(s, r) for s, (_, r) in zip(signs, found.iterrows(), strict=True)]
    return found.assign(expected=signs, ruling=rulings)


def ruling(sign: float, row: pd.Series[Any]) -> Verdict:
    """Judge a conjectured sign by the whole interval of the correlation."""
    return judge(_estimate(row), 0.0, above=sign > 0)


def _upper(name: str) -> str:
    """Return a name at the beginning of a sentence; λ_K keeps its K.

    >>> _upper("largest λ_K")
    'Largest λ_K'
    """
    return name[0].upper() + name[1:]


def _estimate(row: pd.Series[Any]) -> Estimate:
    return estimate_of(row["value"], row["low"], row["high"], row["reason"])
