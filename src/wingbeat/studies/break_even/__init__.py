"""Break-even point: gradient covariance against learning rate and batch size."""

from __future__ import annotations

from typing import Final

from wingbeat.studies.break_even.claims import tables, tested
from wingbeat.studies.break_even.page import content
from wingbeat.studies.break_even.plan import BreakEvenPlan, conditions
from wingbeat.study.named import NamedStudy, register

__all__ = ["STUDY", "BreakEvenPlan"]

STUDY: Final = register(
    NamedStudy(
        name="break-even",
        title="break-even point",
        help="Does a larger learning rate or a smaller batch lower the variance of the gradient?",
        plan=BreakEvenPlan,
        conditions=conditions,
        tables=tables,
        claims=tested,
        answers=("lambda-k-most-lr", "lambda-k-most-batch-size"),
        page=content,
    ),
)
