"""Claims and their verdicts: one vocabulary for every study."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

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
        part: which part of the claim, or under which definition; "" for a claim of one part.
    """

    ident: str
    text: str
    published: str
    measured: str
    verdict: Verdict
    note: str = ""
    part: str = ""

    @property
    def named(self) -> str:
        """The claim with its part.

        >>> Claim("a", "It rises.", "", "1", HOLDS, part="late").named
        'It rises. (late)'
        """
        return f"{self.text} ({self.part})" if self.part else self.text


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


def all_of(*verdicts: Verdict) -> Verdict:
    """Judge a claim that says several things at once by the verdicts of each.

    >>> all_of("holds", "holds"), all_of("holds", "fails"), all_of("holds", "undetermined")
    ('holds', 'fails', 'undetermined')
    """
    if FAILS in verdicts:
        return FAILS
    return HOLDS if set(verdicts) == {HOLDS} else UNDETERMINED


def counted(claims: Iterable[Claim]) -> str:
    """Return in one sentence how many of the claims hold.

    >>> counted([Claim("a", "A.", "", "1", HOLDS), Claim("b", "B.", "", "–", NOT_RUN)])
    'Of 1 claims measured here, 1 hold, 0 do not and 0 stay undetermined.'
    """
    given = [c.verdict for c in claims if c.verdict != NOT_RUN]
    if not given:
        return "Nothing that a claim speaks of is finished yet."
    return (
        f"Of {len(given)} claims measured here, {given.count(HOLDS)} hold, {given.count(FAILS)} do "
        f"not and {given.count(UNDETERMINED)} stay undetermined."
    )
