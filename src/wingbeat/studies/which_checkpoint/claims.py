"""What is said of checkpoints by their sensitivity, and whether these runs agree."""

from __future__ import annotations

from typing import Final

from wingbeat.errors import DIVERGED
from wingbeat.studies.seedwise import claims_by_net
from wingbeat.studies.which_checkpoint.found import LIMITS, SEEDWISE
from wingbeat.study.analysis import Analysis
from wingbeat.study.verdicts import Claim

ASKED: Final = "open question of 2506.13234 and 2203.05482"
NEAR: Final = 0.01
"""Accuracy, a point, within which a choice of checkpoint counts as good as the best."""
CLAIMED: Final = (
    ("last-least", "last_over_least", 0.0, False,
     "The least sensitive checkpoint is the last one."),
    ("calmer-with-time", "calmer", 0.0, False,
     "The later the checkpoint, the less a nudge grows from there on."),
    ("averaging", "growth_and_gain", 0.0, True,
     "The more sensitive the checkpoint, the more averaging copies forked there gains."),
    ("averaging-beside", "beside_gain", 0.0, True,
     "So too at one and the same checkpoint: of its runs the more sensitive gain more."),
    ("tuning", "growth_and_tuned", 0.0, False,
     "The less sensitive the checkpoint, the better a net fine-tuned from it."),
    ("tuning-beside", "beside_tuned", 0.0, False,
     "So too at one and the same checkpoint: the less sensitive runs fine-tune better."),
    ("pick-to-average", "lost_average", NEAR, False,
     "Averaging at the least sensitive checkpoint is within a point of the best."),
    ("pick-to-tune", "lost_tuned", NEAR, False,
     "Fine-tuning from the least sensitive checkpoint is within a point of the best."),
    ("better-than-last", "over_last_tuned", 0.0, True,
     "Fine-tuning from the least sensitive checkpoint beats fine-tuning from the last one."),
)  # fmt: skip
"""As `wingbeat.studies.seedwise` reads them."""


def claims(found: Analysis) -> tuple[Claim, ...]:
    """Return the verdict on each claim, for each net."""
    seeds = found.tables["seeds"]
    return claims_by_net(seeds, CLAIMED, SEEDWISE, asked=ASKED, reason=DIVERGED, ranges=LIMITS)
