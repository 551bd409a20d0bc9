"""What is said of stable settings, and whether these runs agree."""

from __future__ import annotations

from typing import Final

from wingbeat.studies.seedwise import seed_claim
from wingbeat.studies.stable_at_start.found import LIMIT, OF_SEED, SEEDWISE
from wingbeat.study.analysis import Analysis
from wingbeat.study.verdicts import Claim

ASKED: Final = "open question of 2506.13234"
CLAIMED: Final = (
    ("stable", "stable_barrier", LIMIT, False,
     f"The calmest setting that the search found has no barrier: it is below {LIMIT:g} nats."),
    ("learns", "stable_accuracy", None, True,
     "It learns: its accuracy is above the floor."),
    ("beyond-linear", "over_linear", 0.0, True,
     "It is more accurate than a linear model, which cannot have a barrier."),
    ("beyond-usual", "over_usual", 0.0, True,
     "It is more accurate than the usual AdamW."),
    ("costs", "cost", 0.0, True,
     "It costs accuracy: the most accurate setting of the frontier is more accurate."),
    ("reach-costs", "reach_cost", 0.0, True,
     "So does the last calm setting on the way from the calmest to the most accurate."),
    ("accurate-unstable", "accurate_barrier", LIMIT, True,
     "The most accurate setting has a barrier."),
    ("usual-adamw", "usual_adamw_barrier", LIMIT, True,
     "The usual AdamW has a barrier."),
    ("usual-sgd", "usual_sgd_barrier", LIMIT, True,
     "The usual SGD has a barrier."),
    ("order", "order_over_nudge", 0.0, True,
     "Another batch order makes a higher barrier than the nudge."),
    ("alignment", "alignment", 0.0, True,
     "Permuting units removes a part of the barrier of the most accurate setting."),
    ("curse", "curse", 0.0, True,
     "Barriers of chosen settings are higher on unseen base seeds than in the search."),
    ("movement", "movement", 0.0, True,
     "The farther a setting moves the weights, the higher is its barrier."),
)  # fmt: skip
"""Name, column of the table of seeds, bound (None: the plan's floor), whether above, the claim."""


def claims(found: Analysis) -> tuple[Claim, ...]:
    """Return the verdict on each claim; none before the frontier has been run again."""
    seeds = found.tables["seeds"]
    if not len(seeds):
        return ()
    return tuple(
        seed_claim(
            ident, text, seeds[column], found.plan.floor if bound is None else bound, above=above,
            unit=SEEDWISE[column] + ":", asked=ASKED, within=OF_SEED.get(column),
        )
        for ident, column, bound, above, text in CLAIMED
    )  # fmt: skip
