"""Does the architecture decide, or accuracy, rate and size? The verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wingbeat.errors import NOT_REACHED
from wingbeat.studies.seedwise import seed_claim
from wingbeat.study.analysis import Analysis
from wingbeat.study.ranges import DIFFERENCE, SHARE

if TYPE_CHECKING:
    from wingbeat.study.verdicts import Claim

ASKED: Final = "open question of 2506.13234 and deep-lyapunov"
COMPARED: Final = (
    ("cnn", "dense", "Copies of a CNN part more than those of a dense net"),
    ("transformer", "dense", "Copies of a transformer part more than those of a dense net"),
    ("transformer", "cnn", "Copies of a transformer part more than those of a CNN"),
)
SENSES: Final = {
    "log_growth": ("after equally many updates", "ln of the ratio of growths"),
    "log_growth_matched": ("at equal accuracy", "ln of the ratio of growths"),
    "disagreement_matched": ("in what they answer, at equal accuracy", "share of digits"),
}
"""In which sense, in words; and what the difference is."""


def claims(found: Analysis) -> tuple[Claim, ...]:
    """Return the verdict on each claim."""
    seeds = found.tables["seeds"]
    told = [
        seed_claim(
            f"{b}-{a}-{value}",
            f"{text}.",
            seeds[f"{b}_over_{a}_{value}"],
            0.0,
            above=True,
            unit=f"{unit}:",
            part=words,
            asked=ASKED,
            reason=NOT_REACHED,
            within=DIFFERENCE if value.startswith("disagreement") else None,
        )
        for b, a, text in COMPARED
        for value, (words, unit) in SENSES.items()
    ]
    share = {name: seeds[f"share_{name}"] for name in ("family", "lr", "size", "accuracy")}
    for name, words in (("lr", "the learning rate"), ("size", "the number of weights"),
                        ("accuracy", "the accuracy")):  # fmt: skip
        told.append(
            seed_claim(
                f"family-over-{name}",
                f"The architecture explains more of how much a nudge grows than {words}.",
                share["family"] - share[name],
                0.0,
                above=True,
                unit="share of the variance, family less that:",
                asked=ASKED,
                within=DIFFERENCE,
            )
        )
    told.append(
        seed_claim(
            "family-beyond",
            "The architecture explains more than a tenth beyond rate, size and accuracy.",
            seeds["beyond"],
            0.1,
            above=True,
            unit="share of the variance that family adds:",
            asked=ASKED,
            within=SHARE,
        )
    )
    return tuple(told)
