"""What papers say about phases, and whether these runs agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pandas as pd

from wingbeat.report.figures.estimates import estimate_text
from wingbeat.study.analysis import Analysis, Tables
from wingbeat.study.finished import done, estimate_columns, estimate_in, mean_of
from wingbeat.study.ranges import AT_LEAST_0, CORRELATION, SHARE, Range
from wingbeat.study.verdicts import Claim, all_of, judge

if TYPE_CHECKING:
    from wingbeat.stats import Estimate
    from wingbeat.study.verdicts import Verdict

MARKS: Final = {
    "first_fall": "the loss has fallen by half",
    "onset": "copies nudged from here on stay in one basin",
    "kernel_settled": "the kernel moves less than a tenth of its most",
}
"""Moments, as shares of training."""
NUMBERS: Final = {
    "first_fall": "first fall of the loss",
    "onset": "copies stay from",
    "kernel_settled": "kernel settles",
    "flips_early": "share of switches in the first quarter",
    "elasticity_gain": "rise of local elasticity",
    "elastic_separable": "rank correlation of elasticity and accuracy",
    "late_drift": "pace of drift, last quarter ÷ first",
    "late_loss": "change of the loss in the last quarter, share of its fall",
    "turned": "cosine of units with their start, at the end",
    "collapse": "NC1, end ÷ start",
}
"""What is told of each run, in words; moments are shares of training."""
LIMITS: Final[dict[str, Range]] = {
    **dict.fromkeys(("first_fall", "onset", "kernel_settled", "flips_early"), SHARE),
    **dict.fromkeys(("elastic_separable", "turned"), CORRELATION),
    **dict.fromkeys(("late_drift", "collapse"), AT_LEAST_0),
}
"""What these can be."""
HALF: Final = 0.5
STILL: Final = 0.05
"""Share of the whole fall of the loss below which it counts as not changing."""
FAR: Final = 0.5**0.5
"""Cosine below which a unit is more new than old."""


def tables(found: Analysis) -> Tables:
    """Return each number with its interval over base seeds, written as ``marks.csv``."""
    rows = done(found.study)
    return {
        "marks": pd.DataFrame(
            [
                {"name": name, **estimate_columns("found", mean_of(rows, name, LIMITS.get(name)))}
                for name in NUMBERS
            ]
        )
    }


def of(found: Analysis, name: str) -> Estimate:
    """Return one number of the table with its interval."""
    marks = found.tables["marks"]
    return estimate_in(marks[marks["name"] == name].iloc[0], "found")


def claims(found: Analysis) -> tuple[Claim, ...]:
    """Return the verdict on one sentence of each paper."""

    def claim(
        ident: str, text: str, published: str, names: tuple[str, ...], verdict: Verdict
    ) -> Claim:
        """Return a claim with the numbers it rests on."""
        said = "; ".join(f"{NUMBERS[n]} {estimate_text(of(found, n))}" for n in names)
        return Claim(ident, text, published, said, verdict)

    late_drift, late_loss = of(found, "late_drift"), of(found, "late_loss")
    return (
        claim(
            "elastic-separable",
            "Local elasticity rises with accuracy along training.",
            "separable iff locally elastic (2110.05960)",
            ("elastic_separable", "elasticity_gain"),
            judge(of(found, "elastic_separable"), 0.0, above=True),
        ),
        claim(
            "flips-early",
            "More than half of all switches of units fall into the first quarter of training.",
            "early convergence by a partition of neurons (2206.02139)",
            ("flips_early",),
            judge(of(found, "flips_early"), HALF, above=True),
        ),
        claim(
            "late-drift",
            "In the last quarter units still turn, at over a twentieth of their early pace, while "
            "the loss changes by less than a twentieth of its fall.",
            "a late diffusive phase: representational drift (2309.04522)",
            ("late_drift", "late_loss"),
            all_of(judge(late_drift, STILL, above=True), judge(late_loss, STILL, above=False)),
        ),
        claim(
            "far-from-start",
            "At the end a unit's incoming weights are more new than old.",
            "features are far from the initialisation (2005.10190)",
            ("turned",),
            judge(of(found, "turned"), FAR, above=False),
        ),
        claim(
            "kernel-early",
            "The kernel settles in the first half of training.",
            "a transition within the first epochs (2505.13900, 2010.15110)",
            ("kernel_settled", "onset"),
            judge(of(found, "kernel_settled"), HALF, above=False),
        ),
        claim(
            "collapse",
            "The last features collapse: NC1 ends below a tenth of its start.",
            "neural collapse (2008.08186)",
            ("collapse",),
            judge(of(found, "collapse"), 0.1, above=False),
        ),
    )
