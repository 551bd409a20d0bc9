"""Phases of one training: what single papers look at, side by side along one run."""

from __future__ import annotations

from typing import Final

from wingbeat.studies.phases.claims import claims, tables
from wingbeat.studies.phases.page import content
from wingbeat.studies.phases.plan import AlongPlan, announcement, conditions
from wingbeat.study.named import NamedStudy, register

__all__ = ["STUDY", "AlongPlan"]

STUDY: Final = register(
    NamedStudy(
        name="phases",
        title="phases of a training",
        help="When does what end: first fall of the loss, onset, kernel, flips, drift.",
        plan=AlongPlan,
        conditions=conditions,
        tables=tables,
        claims=claims,
        answers=("kernel-early", "late-drift"),
        page=content,
        announce=announcement,
    ),
)
