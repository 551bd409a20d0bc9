"""What is said of scaling, and whether these runs agree."""

from __future__ import annotations

from typing import Final

import numpy as np

from wingbeat.studies.seedwise import seed_claim
from wingbeat.studies.width_depth_size.found import LIMITS, SEEDWISE
from wingbeat.study.analysis import Analysis
from wingbeat.study.finished import over_seeds
from wingbeat.study.verdicts import Claim, all_of, judge

ASKED: Final = "open question of 2506.13234"
LINEAR: Final = 0.1
"""Exponent in the size within which growth counts as not depending on it."""
CLAIMED: Final = (
    ("width", 0.0, False, "Wider nets are less sensitive: a nudge grows less."),
    ("width_matched", 0.0, False,
     "So they are at equal accuracy and training loss: it is not that they have learned more."),
    ("depth", 0.0, True, "Deeper nets are more sensitive: a nudge grows more."),
    ("size", 0.0, False, "Smaller nudges grow by a larger factor."),
    ("barrier_size", 0.0, True, "The barrier rises with the size of the nudge."),
    ("barrier_width", 0.0, False, "The barrier after the largest nudge falls with width."),
    ("disagreement_width", 0.0, False, "Copies of wider nets disagree on fewer unseen digits."),
    ("left_early", 0.0, True,
     "More copies leave their reference's basin when nudged at the start than later."),
)  # fmt: skip
"""Column of the table of seeds, bound, whether above it, and the claim."""
_SPARSE: Final = (
    "Of two nets with equally many weights the sparse wide one is more sensitive than the full "
    "narrow one."
)


_PRUNED: Final = (
    "Of two nets with equally many weights the pruned one is calmer than the random one."
)


def claims(found: Analysis) -> tuple[Claim, ...]:
    """Return the verdict on each claim, for each activation."""
    seeds = found.tables["seeds"]
    told: list[Claim] = []
    for activation, own in seeds.groupby("activation", sort=True):
        part = f"{activation} nets"
        told += [
            seed_claim(
                f"{name}-{activation}", text, own[name], bound, above=above,
                unit=SEEDWISE[name] + ":", part=part, asked=ASKED, within=LIMITS.get(name),
            )
            for name, bound, above, text in CLAIMED
        ]  # fmt: skip
        told.append(linear(own["size"].to_numpy(dtype=np.float64), str(activation)))
        if own["sparse_minus_narrow"].notna().any():
            # Fewer weights mean more growth along width; if density does less, sparse is calmer.
            name = "sparse_minus_narrow"
            told.append(
                seed_claim(
                    f"sparse-{activation}", _SPARSE, own[name], 0.0, above=False,
                    unit=SEEDWISE[name] + ":", part=part, asked=ASKED,
                )
            )  # fmt: skip
        if own["pruned_minus_random"].notna().any():
            name = "pruned_minus_random"
            told.append(
                seed_claim(
                    f"pruned-{activation}", _PRUNED, own[name], 0.0, above=False,
                    unit=SEEDWISE[name] + ":", part=part, asked=ASKED,
                )
            )  # fmt: skip
    return tuple(told)


def linear(values: np.ndarray, activation: str) -> Claim:
    """Return the claim that a nudge grows by one factor whatever its size."""
    one = seed_claim(
        f"linear-{activation}",
        f"A nudge grows by one factor whatever its size: the exponent lies within ±{LINEAR:g}.",
        values,
        0.0,
        above=True,
        unit=SEEDWISE["size"] + ":",
        part=f"{activation} nets",
        asked="what an exponent λ presupposes",
    )
    known = over_seeds(values)
    verdict = all_of(judge(known, -LINEAR, above=True), judge(known, LINEAR, above=False))
    return Claim(one.ident, one.text, one.published, one.measured, verdict, "", one.part)
