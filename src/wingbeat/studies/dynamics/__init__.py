"""Training dynamics: 21 architectures in three families, nudged at the start.

Every net is trained with copies that start 1 % of each tensor's standard deviation away and see
the same data in the same order. Do the copies end closer together, or farther apart? The
study repeats the article "Random Seeds and Training Trajectories" (rajeshrs.in, 2025) with
coupled noise, several base seeds and intervals.
"""

from __future__ import annotations

from typing import Final

from wingbeat.studies.dynamics.claims import tested
from wingbeat.studies.dynamics.found import DynamicsFindings, families_table, nets_table
from wingbeat.studies.dynamics.page import content
from wingbeat.studies.dynamics.plan import DynamicsPlan, announcement, conditions, placed
from wingbeat.study.named import NamedStudy, register

__all__ = ["STUDY", "DynamicsPlan"]

STUDY: Final = register(
    NamedStudy(
        name="dynamics",
        title="training dynamics of 21 architectures",
        help="21 architectures, nudged at the start: do the copies end closer together?",
        plan=DynamicsPlan,
        conditions=conditions,
        read=DynamicsFindings,
        tables=lambda found: {
            "families": families_table(found.own),
            "architectures": nets_table(found.own),
        },
        claims=tested,
        answers=("*-count/full space",),
        page=content,
        announce=announcement,
        told=("architecture", "seed"),
        placed=placed,
    ),
)
