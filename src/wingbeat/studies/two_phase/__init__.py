"""Two phases of one training: is it chaotic first and confined later, and is that one moment?"""

from __future__ import annotations

from typing import Final

from wingbeat.studies.two_phase.claims import claims
from wingbeat.studies.two_phase.found import read, tables
from wingbeat.studies.two_phase.page import content
from wingbeat.studies.two_phase.plan import TwoPhasePlan, announcement, conditions
from wingbeat.study.named import NamedStudy, register

__all__ = ["STUDY", "TwoPhasePlan"]

STUDY: Final = register(
    NamedStudy(
        name="two-phase",
        title="two phases of a training",
        help="Does training turn from chaotic to confined, and at one moment?",
        plan=TwoPhasePlan,
        conditions=conditions,
        read=read,
        tables=tables,
        claims=claims,
        answers=("confined", "coincide"),
        page=content,
        announce=announcement,
    ),
)
