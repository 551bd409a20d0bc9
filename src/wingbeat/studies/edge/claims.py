"""Whether the sharpness reaches its threshold and stays there, per optimizer and learning rate."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from wingbeat.report.figures.estimates import estimate_text
from wingbeat.studies.edge.plan import RULES
from wingbeat.study.analysis import Analysis, Tables
from wingbeat.study.finished import done, estimate_in, mean_columns
from wingbeat.study.ranges import AT_LEAST_0, SHARE, Range
from wingbeat.study.verdicts import FAILS, HOLDS, UNDETERMINED, Claim, Verdict

MEANS: Final = ("reached", "hover", "uneven")
"""What is averaged over base seeds."""
LIMITS: Final[dict[str, Range]] = {"reached": AT_LEAST_0, "uneven": SHARE}
"""What these can be: a step, and a share of steps."""
KEPT: Final = (
    "rule", "lr", "seed", "steps", "edge", "threshold",
    *(f"{name}{end}" for name in MEANS for end in ("", "_reason")),
    "sharpness_start", "sharpness_end", "training_loss_end", "training_accuracy",
    "processor_seconds",
)  # fmt: skip
"""Columns of every run; the verdicts follow from them."""
FEWEST: Final = 3
"""Base seeds that have to agree before a claim holds or fails."""


def tables(found: Analysis) -> Tables:
    """Return every run and the verdicts."""
    runs = ordered(done(found.study)).reindex(columns=list(KEPT))
    return {"runs": runs.reset_index(drop=True), "verdicts": verdicts(runs)}


def tested(found: Analysis) -> tuple[Claim, ...]:
    """Return one claim for each optimizer and learning rate: the edge of stability is there."""
    return tuple(
        Claim(
            f"edge-{row['rule'].split()[0].lower()}-{row['lr']:g}",
            f"With {row['rule']} the sharpness rises to the threshold and stays.",
            "edge of stability (Cohen et al. 2021)",
            f"{row['edge']} of {row['runs']} runs; sharpness ÷ threshold from then on "
            f"{estimate_text(estimate_in(row, 'hover'))}",
            verdict_of(row["edge"], row["runs"]),
            f"Holds or fails where {FEWEST} or more base seeds agree.",
            f"η = {row['lr']:g}",
        )
        for _, row in found.tables["verdicts"].iterrows()
    )


def verdict_of(at: int, runs: int) -> Verdict:
    """Judge a claim by how many of the runs, one per base seed, show it.

    >>> verdict_of(3, 3), verdict_of(0, 3), verdict_of(2, 3), verdict_of(1, 1)
    ('holds', 'fails', 'undetermined', 'undetermined')
    """
    if runs < FEWEST or 0 < at < runs:
        return UNDETERMINED
    return HOLDS if at else FAILS


def ordered(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows by optimizer in the order of `RULES`, learning rate and seed."""
    place = rows["rule"].map(list(RULES).index)
    return rows.assign(place=place).sort_values(["place", "lr", "seed"])


def verdicts(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row an optimizer and learning rate: verdicts, and means over base seeds.

    Args:
        rows: finished conditions.
    """
    found = []
    for (rule, lr), own in ordered(rows).groupby(["rule", "lr"], sort=False):
        row: dict[str, Any] = {"rule": rule, "lr": lr, "runs": len(own)}
        words = [f"{word} ({count})" for word, count in own["edge"].value_counts().items()]
        row |= {"verdict": ", ".join(words), "edge": int((own["edge"] == "edge").sum())}
        row["threshold"] = float(own["threshold"].mean())
        found.append(row | mean_columns(own, MEANS, LIMITS))
    return pd.DataFrame(found)
