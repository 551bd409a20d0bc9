"""Irrelevant dimensions: directions that neither move the loss nor grow, against architecture."""

from __future__ import annotations

from typing import Final

from wingbeat.studies.irrelevant_dimensions.claims import claims
from wingbeat.studies.irrelevant_dimensions.found import tables
from wingbeat.studies.irrelevant_dimensions.page import content
from wingbeat.studies.irrelevant_dimensions.plan import DimensionsPlan, conditions
from wingbeat.study.named import NamedStudy, register

__all__ = ["STUDY", "DimensionsPlan"]

STUDY: Final = register(
    NamedStudy(
        name="irrelevant-dimensions",
        title="irrelevant dimensions",
        help="How many directions neither move the loss nor grow, against architecture?",
        plan=DimensionsPlan,
        conditions=conditions,
        tables=tables,
        claims=claims,
        answers=("most-[!s]*",),
        page=content,
    ),
)
