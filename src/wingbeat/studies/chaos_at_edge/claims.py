"""What is said of chaos at the edge, and whether these runs agree."""

from __future__ import annotations

from typing import Final

from wingbeat.errors import NOT_REACHED
from wingbeat.studies.chaos_at_edge.found import LIMITS, SEEDWISE
from wingbeat.studies.lr_phases.claims import E_FOLD
from wingbeat.studies.seedwise import claims_by_net
from wingbeat.study.analysis import Analysis
from wingbeat.study.verdicts import Claim

ASKED: Final = "open question of 2506.08523 and 2103.00065"
CLAIMED: Final = (
    ("edge-first", "rates_apart", 0.0, True,
     "Training is at its edge at smaller rates than those at which it is chaotic."),
    ("fastest-is-chaotic", "growth_of_fastest", E_FOLD, True,
     "The rate that is first at the loss is a chaotic one."),
    ("faster", "speed", 0.0, True,
     "The fastest chaotic run needs fewer updates than the fastest laminar one."),
    ("beyond-the-step", "speed_in_time", 0.0, True,
     "It needs less training time η × updates too: chaos helps beyond the longer step."),
    ("better", "gain", 0.0, True,
     "The best chaotic run is more accurate on unseen digits than the best laminar one."),
    ("better-at-edge", "gain_at_edge", 0.0, True,
     "Of runs at the edge the chaotic ones are more accurate than the laminar ones."),
    ("at-one-rate-better", "growth_and_accuracy", 0.0, True,
     "At one and the same rate, runs that are more chaotic are more accurate."),
    ("at-one-rate-faster", "growth_and_steps", 0.0, False,
     "At one and the same rate, runs that are more chaotic are at the loss sooner."),
)  # fmt: skip
"""As `wingbeat.studies.seedwise` reads them."""


def claims(found: Analysis) -> tuple[Claim, ...]:
    """Return the verdict on each claim, for each net."""
    seeds = found.tables["seeds"]
    return claims_by_net(seeds, CLAIMED, SEEDWISE, asked=ASKED, reason=NOT_REACHED, ranges=LIMITS)
