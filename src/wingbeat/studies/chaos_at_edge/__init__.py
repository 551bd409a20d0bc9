"""Does chaos at the edge of stability help? Exponent, speed and accuracy over the learning rate."""

from __future__ import annotations

from typing import Final

from wingbeat.studies.chaos_at_edge.claims import claims
from wingbeat.studies.chaos_at_edge.found import tables
from wingbeat.studies.chaos_at_edge.page import content
from wingbeat.studies.chaos_at_edge.plan import ChaosPlan, conditions
from wingbeat.study.named import NamedStudy, register

__all__ = ["STUDY", "ChaosPlan"]

STUDY: Final = register(
    NamedStudy(
        name="chaos-at-edge",
        title="chaos at the edge of stability",
        help="Does chaos at the edge of stability help, or only the longer step?",
        plan=ChaosPlan,
        conditions=conditions,
        tables=tables,
        claims=claims,
        answers=("better-at-edge-*",),
        page=content,
    ),
)
