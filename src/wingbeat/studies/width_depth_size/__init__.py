"""Width, depth, size of the nudge: how sensitivity scales with each, and in sparse nets."""

from __future__ import annotations

from typing import Final

from wingbeat.studies.width_depth_size.claims import claims
from wingbeat.studies.width_depth_size.found import tables
from wingbeat.studies.width_depth_size.page import content
from wingbeat.studies.width_depth_size.plan import ScalingPlan, conditions
from wingbeat.study.named import NamedStudy, register

__all__ = ["STUDY", "ScalingPlan"]

STUDY: Final = register(
    NamedStudy(
        name="width-depth-size",
        title="width, depth and size of the nudge",
        help="How does sensitivity scale with width, depth, density and the nudge's size?",
        plan=ScalingPlan,
        conditions=conditions,
        tables=tables,
        claims=claims,
        answers=("width-*", "depth-*", "size-*"),
        page=content,
    ),
)
