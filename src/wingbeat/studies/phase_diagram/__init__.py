"""Phase diagram of two-layer ReLU nets at large width."""

from __future__ import annotations

from typing import Final

from wingbeat.studies.phase_diagram.claims import tables, tested
from wingbeat.studies.phase_diagram.page import content
from wingbeat.studies.phase_diagram.plan import DiagramPlan, conditions
from wingbeat.study.named import NamedStudy, register

__all__ = ["STUDY", "DiagramPlan"]

STUDY: Final = register(
    NamedStudy(
        name="phase-diagram",
        title="phase diagram of two-layer ReLU nets",
        help="Do the weights move and condense as the net gets wider, or not?",
        plan=DiagramPlan,
        conditions=conditions,
        tables=tables,
        claims=tested,
        answers=("regime-*",),
        page=content,
    ),
)
