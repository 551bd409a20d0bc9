"""Which checkpoint to fork or ship: is the least sensitive one the best to average or fine-tune?"""

from __future__ import annotations

from typing import Final

from wingbeat.studies.which_checkpoint.claims import claims
from wingbeat.studies.which_checkpoint.found import tables
from wingbeat.studies.which_checkpoint.page import content
from wingbeat.studies.which_checkpoint.plan import CheckpointPlan, conditions
from wingbeat.study.named import NamedStudy, register

__all__ = ["STUDY", "CheckpointPlan"]

STUDY: Final = register(
    NamedStudy(
        name="which-checkpoint",
        title="which checkpoint to fork or ship",
        help="Is the least sensitive checkpoint the best to average or fine-tune from?",
        plan=CheckpointPlan,
        conditions=conditions,
        tables=tables,
        claims=claims,
        answers=("pick-to-average-*", "pick-to-tune-*"),
        page=content,
    ),
)
