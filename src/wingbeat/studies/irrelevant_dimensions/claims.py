"""What is said of irrelevant dimensions, and whether these nets agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wingbeat.studies.seedwise import seed_claim
from wingbeat.study.analysis import Analysis
from wingbeat.study.ranges import DIFFERENCE, SHARE

if TYPE_CHECKING:
    from wingbeat.study.verdicts import Claim

_SHARES: Final = (
    ("most", "More than half of all directions neither grow nor move the loss.",
     "irrelevant", True, "share of the directions:"),
    ("most-strict", "So they do where the loss may move by a tenth of that only.",
     "strict", True, "share of the directions:"),
    ("symmetry", "Exact symmetries and idle weights are fewer than half of them.",
     "exact", False, "share of the irrelevant:"),
)  # fmt: skip
ASKED: Final = "open question of 2506.13234: most dimensions are irrelevant"
FAMILIES: Final = ("dense", "cnn", "transformer")
OVER: Final = (
    ("wider", 0.0, True,
     "A wider net has a larger share of irrelevant directions: width 16 less width 8.",
     "share of the directions:"),
    ("growth_exponent", 0.5, False,
     "The directions that carry the growth grow more slowly than the root of the weights' number.",
     "exponent over widths:"),
    ("deeper", 0.0, False,
     "A deeper net has a smaller share of irrelevant directions: three layers less one.",
     "share of the directions:"),
    ("cnn_less_dense", 0.0, False, "CNNs have a smaller share of them than dense nets.",
     "share of the directions:"),
    ("transformer_less_dense", 0.0, False,
     "Transformers have a smaller share of them than dense nets.", "share of the directions:"),
)  # fmt: skip


def claims(found: Analysis) -> tuple[Claim, ...]:
    """Return the verdict on each claim, for each moment."""
    told: list[Claim] = []
    for at, own in found.tables["seeds"].groupby("at", sort=True):
        when = f"from update {at}"
        for family in FAMILIES:
            if own.get(f"irrelevant_{family}") is None or own[f"irrelevant_{family}"].isna().all():
                continue
            told += [
                seed_claim(
                    f"{name}-{family}-{at}",
                    text,
                    own[f"{column}_{family}"],
                    0.5,
                    above=above,
                    unit=unit,
                    part=f"{family}, {when}",
                    asked=ASKED,
                    within=SHARE,
                )
                for name, text, column, above, unit in _SHARES
            ]
        told += [
            seed_claim(
                f"{name}-{at}", text, own[name], bound, above=above, unit=unit, part=when,
                asked=ASKED, within=None if name == "growth_exponent" else DIFFERENCE,
            )
            for name, bound, above, text, unit in OVER
        ]  # fmt: skip
    return tuple(told)
