"""Danovski, Soriano and Lacasa (arXiv 2404.05782): is training on iris chaotic?

Full-batch gradient descent on a 4-10-3 sigmoid net at η = 0.01, 1 and 5: the paper's numerical
maximum Lyapunov exponent (nMLE) against the size of the nudge, beside it the renormalised
exponent of the same nets, orbital stability, irrelevant weights, the loss at large η, and the
time to accuracy against η.
"""

from __future__ import annotations

from typing import Final

from wingbeat.studies.danovski.claims import tested
from wingbeat.studies.danovski.found import DanovskiFindings
from wingbeat.studies.danovski.page import content
from wingbeat.studies.danovski.plan import DanovskiPlan, conditions
from wingbeat.study.named import NamedStudy, register

__all__ = ["STUDY", "DanovskiPlan"]

STUDY: Final = register(
    NamedStudy(
        name="danovski",
        title="chaos of gradient descent on iris",
        help="Is gradient descent on iris chaotic? The nMLE of arXiv 2404.05782, what it hides.",
        plan=DanovskiPlan,
        conditions=conditions,
        read=DanovskiFindings,
        tables=lambda found: {"estimates": found.own.table},
        claims=tested,
        answers=("chaotic",),
        page=content,
        told=("experiment", "eta", "epsilon"),
    ),
)
