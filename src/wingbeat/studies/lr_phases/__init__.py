"""Phases of the learning rate: stability, curvature and accuracy."""

from __future__ import annotations

from typing import Final

from wingbeat.studies.lr_phases.claims import tables
from wingbeat.studies.lr_phases.page import content
from wingbeat.studies.lr_phases.plan import PhasesPlan, conditions
from wingbeat.study.named import NamedStudy, register

__all__ = ["STUDY", "PhasesPlan"]

STUDY: Final = register(
    NamedStudy(
        name="lr-phases",
        title="phases of the learning rate",
        help="Where is training laminar, chaotic, divergent; which learning rate trains fastest?",
        plan=PhasesPlan,
        conditions=conditions,
        tables=tables,
        page=content,
    ),
)
