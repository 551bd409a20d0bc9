"""Edge of stability: does the sharpness rise to the threshold and stay there?"""

from __future__ import annotations

from typing import Final

from wingbeat.studies.edge.claims import tables, tested
from wingbeat.studies.edge.page import content
from wingbeat.studies.edge.plan import EdgePlan, conditions
from wingbeat.study.named import NamedStudy, register

__all__ = ["STUDY", "EdgePlan"]

STUDY: Final = register(
    NamedStudy(
        name="edge",
        title="edge of stability",
        help="Edge of stability: sharpness against 2/lr and the thresholds of momentum.",
        plan=EdgePlan,
        conditions=conditions,
        tables=tables,
        claims=tested,
        answers=("edge-*",),
        page=content,
    ),
)
