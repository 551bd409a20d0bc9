"""One task, three families: does the architecture decide, or accuracy, rate and size?"""

from __future__ import annotations

from typing import Final

from wingbeat.studies.three_families.claims import claims
from wingbeat.studies.three_families.found import tables
from wingbeat.studies.three_families.page import content
from wingbeat.studies.three_families.plan import FamiliesPlan, conditions
from wingbeat.study.named import NamedStudy, register

__all__ = ["STUDY", "FamiliesPlan"]

STUDY: Final = register(
    NamedStudy(
        name="three-families",
        title="one task, three families",
        help="Dense net, CNN, transformer: does the architecture decide, or accuracy and rate?",
        plan=FamiliesPlan,
        conditions=conditions,
        tables=tables,
        claims=claims,
        answers=("family-over-lr",),
        page=content,
    ),
)
