"""Can settings remove instability at the start? A search for barrier 0, against accuracy."""

from __future__ import annotations

from typing import Final

from wingbeat.studies.stable_at_start.claims import claims
from wingbeat.studies.stable_at_start.found import tables
from wingbeat.studies.stable_at_start.page import content
from wingbeat.studies.stable_at_start.plan import StablePlan, announced, conditions
from wingbeat.studies.stable_at_start.rounds import further
from wingbeat.study.named import NamedStudy, register

__all__ = ["STUDY", "StablePlan"]

STUDY: Final = register(
    NamedStudy(
        name="stable-at-start",
        title="settings that are stable from the start",
        help="Can settings remove instability at the start, and what do they cost in accuracy?",
        plan=StablePlan,
        conditions=conditions,
        tables=tables,
        claims=claims,
        answers=("stable", "costs"),
        page=content,
        announce=announced,
        told=("phase", "setting", "seed"),
        further=further,
    ),
)
