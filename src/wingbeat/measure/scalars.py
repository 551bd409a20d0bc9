"""The scalars that every run has, whatever it measures: their names, words and definitions.

`wingbeat.measure.summary` computes them. What a metric adds to the summary, it declares itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wingbeat.measure.metric import Definition


@dataclass(frozen=True)
class SummaryScalar:
    """One scalar of the summary.

    Attributes:
        name: its key in ``result.summary``, after the perturbation's name.
        label: what it is called.
        column: head of its column in the report; by default the label.
        printed: whether the command line prints it.
        definition: what the report explains about it.
    """

    name: str
    label: str
    column: str = ""
    printed: bool = False
    definition: Definition | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "column", self.column or self.label)


SCALARS: Final = (
    SummaryScalar(
        "convergence_ratio",
        "convergence ratio",
        column="ratio",
        printed=True,
        definition=Definition(
            "convergence ratio",
            "spread(T) ÷ spread(t₀)",
            "t₀ is the step of the nudge, T the last. Below 1 the copies drew together, above 1 "
            "they drifted apart.",
        ),
    ),
    SummaryScalar("convergence_ratio_projected", "projected ratio"),
    SummaryScalar(
        "lyapunov",
        "λ per step",
        printed=True,
        definition=Definition(
            "exponent λ (finite time)",
            "slope of ln distance against step, least squares over the window",
            "Unit 1/step. The window ends before the distance saturates. Above 0 a small distance "
            "grows, below 0 it shrinks. The two-point value is (ln d(T) − ln d(t₀)) ÷ (T − t₀).",
        ),
    ),
    SummaryScalar("lyapunov_per_epoch", "λ per epoch", printed=True),
    SummaryScalar("lyapunov_two_point", "λ, two points", printed=True),
    SummaryScalar("lyapunov_r2", "R² of the λ fit"),
    SummaryScalar(
        "early_late_ratio",
        "early/late",
        definition=Definition(
            "early/late ratio",
            "mean |Δ ln spread| per step, first half ÷ second half",
            "Above 1 the spread changes mostly early in training.",
        ),
    ),
    SummaryScalar(
        "participation_ratio",
        "participation",
        definition=Definition(
            "participation ratio",
            "(Σ μ)² ÷ Σ μ²",
            "μ are the eigenvalues of the covariance of the snapshots: the number of directions "
            "that carry the variance, 1 when all lies on a line.",
        ),
    ),
    SummaryScalar("final_l2", "final distance", printed=True),
    SummaryScalar("saturation_distance", "saturates at distance"),
    SummaryScalar("final_disagreement", "final disagreement", printed=True),
)
"""In the order of the report's columns."""
