"""Claims and their verdicts: one vocabulary for every study."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from wingbeat.stats import Estimate

Verdict = Literal["holds", "fails", "undetermined", "not run"]
HOLDS: Final = "holds"
FAILS: Final = "fails"
UNDETERMINED: Final = "undetermined"
NOT_RUN: Final = "not run"


@dataclass(frozen=True)
class Claim:
    """A claim, what was measured for it, and the verdict.

    Attributes:
        ident: short name, for JSON.
        text: the claim.
        published: its value in the paper, or "".
        measured: value and interval here, in words.
        verdict: "holds", "fails", "undetermined" (the interval says neither) or "not run".
        note: what has to be known to read it.
    """

    ident: str
    text: str
    published: str
    measured: str
    verdict: Verdict
    note: str = ""


def judge(found: Estimate | None, bound: float, *, above: bool) -> Verdict:
    """Judge a claim that a quantity lies above (or below) a bound by its whole interval.

    Args:
        found: the quantity; None where it was not run.
        bound: in its units.
        above: whether the claim says above.

    Example:
        >>> from wingbeat.stats import Estimate
        >>> judge(Estimate(2.0, 1.5, 2.5), 1.0, above=True)
        'holds'
        >>> judge(Estimate(2.0, 0.5, 3.5), 1.0, above=True), judge(None, 1.0, above=True)
        ('undetermined', 'not run')
    """
    if found is None:
        return NOT_RUN
    if found.reason or isnan(found.low) or isnan(found.high):
        return UNDETERMINED
    if found.low > bound:
        return HOLDS if above else FAILS
    if found.high < bound:
        return FAILS if above else HOLDS
    return UNDETERMINED
