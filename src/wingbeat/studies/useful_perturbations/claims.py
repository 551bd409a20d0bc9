"""What is said of perturbations for ensembles, and whether these runs agree."""

from __future__ import annotations

from typing import Final

from wingbeat.errors import DIVERGED
from wingbeat.studies.seedwise import claims_by_net
from wingbeat.studies.useful_perturbations.found import LIMITS, SEEDWISE
from wingbeat.study.analysis import Analysis
from wingbeat.study.verdicts import Claim

ASKED: Final = "open question of 2506.13234 and 1912.02757"
CLAIMED: Final = (
    ("better-than-long", "over_long", 0.0, True,
     "An ensemble of nets that share nothing is more accurate than one net trained as long."),
    ("calibrated", "over_long_loss", 0.0, False,
     "It has a lower loss on unseen digits too."),
    ("half-better-than-long", "half_over_long", 0.0, True,
     "Members that part at the last fork, by order, are still more accurate than one net."),
    ("half-is-worse", "half_over_start", 0.0, True,
     "At equal cost, members that part at the last fork are worse than those from the start."),
    ("order-is-enough", "order", 0.9, True,
     "From the start, another order gains nine tenths of what another initialisation gains."),
    ("nudge-is-enough", "nudge", 0.5, True,
     "From the start, the smallest nudge gains half of what another initialisation gains."),
    ("weight-is-enough", "one_weight", 0.5, True,
     "From the start, one weight moved gains half of what another initialisation gains."),
    ("later-is-worse", "later", 0.0, True,
     "At equal cost, the later the fork the higher the loss of the ensemble."),
    ("larger-at-start", "larger_at_start", 0.0, True,
     "At the start a larger nudge gains more."),
    ("larger-late", "larger_late", 0.0, True,
     "At the last fork a larger nudge gains more."),
    ("when-over-what", "time_over_kind", 0.0, True,
     "When copies part explains more of the gain than what parts them."),
    ("apart-gains", "apart_and_gain", 0.0, True,
     "The more copies answer otherwise than their reference, the more their ensemble gains."),
)  # fmt: skip
"""As `wingbeat.studies.seedwise` reads them."""


def claims(found: Analysis) -> tuple[Claim, ...]:
    """Return the verdict on each claim, for each net."""
    seeds = found.tables["seeds"]
    return claims_by_net(seeds, CLAIMED, SEEDWISE, asked=ASKED, reason=DIVERGED, ranges=LIMITS)
