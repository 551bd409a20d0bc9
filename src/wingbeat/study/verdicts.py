"""Claims and their verdicts: one vocabulary for every study."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, isnan, nan
from typing import TYPE_CHECKING, Final, Literal, cast

import numpy as np

from wingbeat.stats import holm, largest_p

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wingbeat.stats import Estimate

Verdict = Literal["holds", "fails", "undetermined", "not run"]
HOLDS: Final = "holds"
FAILS: Final = "fails"
UNDETERMINED: Final = "undetermined"
NOT_RUN: Final = "not run"


class Ruling(str):
    """A verdict that an interval gave: the word, and the p value that it cannot exceed.

    Attributes:
        doubt: two-sided; see `wingbeat.stats.largest_p`.
    """

    __slots__ = ("doubt",)
    doubt: float

    def __new__(cls, word: str, doubt: float = nan) -> Ruling:
        """Make it of the word."""
        made = super().__new__(cls, word)
        made.doubt = doubt
        return made


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
        needed: base seeds that would decide an open claim, as a forecast; 0 where none is made.
    """

    ident: str
    text: str
    published: str
    measured: str
    verdict: Verdict
    note: str = ""
    part: str = ""
    needed: int = 0

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
    word = UNDETERMINED
    if found.low > bound:
        word = HOLDS if above else FAILS
    elif found.high < bound:
        word = FAILS if above else HOLDS
    return _ruling(word, largest_p(found, bound))


def doubt_of(verdict: str) -> float:
    """Return the p value of a verdict; NaN where no interval gave it."""
    return float(getattr(verdict, "doubt", nan))


def _ruling(word: str, doubt: float) -> Verdict:
    return cast("Verdict", Ruling(word, doubt))


def all_of(*verdicts: Verdict) -> Verdict:
    """Judge a claim that says several things at once by the verdicts of each.

    >>> all_of("holds", "holds"), all_of("holds", "fails"), all_of("holds", "undetermined")
    ('holds', 'fails', 'undetermined')
    """
    doubts = [doubt_of(verdict) for verdict in verdicts]
    if FAILS in verdicts:  # any of them would do, so that their number counts
        failed = [d for v, d in zip(verdicts, doubts, strict=True) if v == FAILS]
        return _ruling(FAILS, min(1.0, len(verdicts) * float(np.min(failed))))
    return _ruling(HOLDS if set(verdicts) == {HOLDS} else UNDETERMINED, float(np.max(doubts)))


def counted(claims: Iterable[Claim]) -> str:
    """Return in one sentence how many of the claims hold.

    >>> counted([Claim("a", "A.", "", "1", HOLDS), Claim("b", "B.", "", "–", NOT_RUN)])
    'Of one claim measured here, 1 holds, 0 do not and 0 stay undetermined.'
    """
    given = [c.verdict for c in claims if c.verdict != NOT_RUN]
    if not given:
        return "Nothing that a claim speaks of is finished yet."
    of = "one claim" if len(given) == 1 else f"{len(given)} claims"
    hold, fail, stay = (given.count(verdict) for verdict in (HOLDS, FAILS, UNDETERMINED))
    return (
        f"Of {of} measured here, {hold} {'holds' if hold == 1 else 'hold'}, {fail} "
        f"{'does' if fail == 1 else 'do'} not and {stay} {'stays' if stay == 1 else 'stay'} "
        "undetermined."
    )


def together(claims: Iterable[Claim], level: float = 0.05) -> tuple[int, int]:
    """Return how many claims stay decided at a level for all of them together, of how many.

    Each interval decides at 5 % for itself: of 20 claims about nothing, one is decided. Holm's
    correction holds the chance that any decision is false to the level. Only claims that an
    interval judged count.

    >>> from wingbeat.stats import Estimate
    >>> sure, near = Estimate(9.0, 8.9, 9.1), Estimate(2.0, 1.05, 2.95)
    >>> found = [judge(e, 1.0, above=True) for e in (sure, near, near)]
    >>> together(Claim("a", "A.", "", "1", verdict) for verdict in found)
    (1, 3)
    """
    judged = [c.verdict for c in claims if isfinite(doubt_of(c.verdict))]
    corrected = holm(np.array([doubt_of(verdict) for verdict in judged]))
    decided = (verdict != UNDETERMINED for verdict in judged)
    sure = sum(bool(p <= level) and yes for p, yes in zip(corrected, decided, strict=True))
    return sure, len(judged)
