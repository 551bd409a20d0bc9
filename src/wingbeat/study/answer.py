"""The answer to a study's question: its main claim with verdict, number, interval and doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

import numpy as np

from wingbeat.stats import holm
from wingbeat.study.verdicts import NOT_RUN, UNDETERMINED, Claim, doubt_of

PARTS: Final = 3
"""Parts of a claim that are all named in its sentence; of more the first of each verdict is."""
LEVEL: Final = 0.05
"""Of all claims of a page together."""


@dataclass(frozen=True)
class Answer:
    """What a study answers.

    Attributes:
        said: a sentence for each main claim: its verdict, and what was measured with its interval,
            for each part of it. None without a main claim.
        doubt: what they must not be read without: whether they stay decided for all claims
            together, or how many base seeds would decide them.
    """

    said: tuple[str, ...] = ()
    doubt: str = ""

    @property
    def whole(self) -> str:
        """All in a line."""
        return " ".join(filter(None, (*self.said, self.doubt)))


def main_claims(claims: Sequence[Claim], main: Sequence[str]) -> list[Claim]:
    """Return the claims that answer the question; those that were not run only if all were not.

    Args:
        claims: all of the study.
        main: their short names, with "/" and the part where only some parts are meant; or patterns
            such as ``"width-*"``.

    >>> claims = [Claim(name, "A.", "", "1", "holds") for name in ("a-x", "a-y", "b")]
    >>> [c.ident for c in main_claims(claims, ["a-*"])]
    ['a-x', 'a-y']
    """
    found = [
        c
        for pattern in main
        for c in claims
        if fnmatchcase(c.ident, pattern) or fnmatchcase(f"{c.ident}/{c.part}", pattern)
    ]
    return [c for c in found if c.verdict != NOT_RUN] or found


def answer_of(claims: Sequence[Claim], main: Sequence[str]) -> Answer:
    """Return the answer to the question of a study by its claims.

    Args:
        claims: all of the study.
        main: which of them answer it; see `main_claims`.

    Example:
        >>> claim = Claim("a", "Copies part.", "", "ratio: 3 [2 to 4]", "holds", part="cnn")
        >>> answer_of([claim, Claim("b", "B.", "", "1", "fails")], ["a"]).said
        ('Copies part: holds for cnn, 3 [2 to 4] (ratio).',)
    """
    chosen = main_claims(claims, main)
    texts = dict.fromkeys(c.text for c in chosen)
    groups = [[c for c in chosen if c.text == text] for text in texts]
    doubts = filter(None, (_doubt(own, claims) for own in groups))
    return Answer(tuple(map(_said, groups)), " ".join(doubts))


def _said(claims: Sequence[Claim]) -> str:
    """Return claims of one text in a sentence."""
    unit = _shared([c.measured for c in claims])
    what = f" ({unit.removesuffix(': ')})" if unit else ""
    if len(claims) <= PARTS:
        parts = [_verdict(c, unit) for c in claims]
    else:
        verdicts = dict.fromkeys(c.verdict for c in claims)
        parts = [_counted([c for c in claims if c.verdict == v], unit) for v in verdicts]
    return f"{claims[0].text.rstrip('.')}: {'; '.join(parts)}{what}."


def _verdict(claim: Claim, unit: str) -> str:
    measured = claim.measured.removeprefix(unit)
    number = f", {measured}" if claim.verdict != NOT_RUN else ""
    return f"{claim.verdict}{f' for {claim.part}' if claim.part else ''}{number}"


def _counted(claims: Sequence[Claim], unit: str) -> str:
    """Return claims of one verdict: the first of them, and how many more there are."""
    more = f", and for {len(claims) - 1} more" if len(claims) > 1 else ""
    return f"{_verdict(claims[0], unit)}{more}"


def _shared(measured: Sequence[str]) -> str:
    """Return the words, up to a colon, with which all numbers begin.

    >>> _shared(["ratio: 2 [1 to 3]", "ratio: 4"]), _shared(["ratio: 2", "share: 4"])
    ('ratio: ', '')
    """
    heads = {text.rpartition(": ")[0] for text in measured}
    head = heads.pop()
    return f"{head}: " if head and not heads else ""


def _doubt(own: Sequence[Claim], claims: Sequence[Claim]) -> str:
    """Return what is to be known of each of some claims, once where it is the same."""
    sure = _together(claims)
    told = [_doubt_of(claim, sure) for claim in own]
    if len(set(told)) == 1:
        return f"{told[0][:1].upper()}{told[0][1:]}." if told[0] else ""
    named = [f"{c.part or c.ident}: {text}" for c, text in zip(own, told, strict=True) if text]
    return f"{'; '.join(named)}."


def _doubt_of(claim: Claim, sure: dict[Claim, bool]) -> str:
    if claim.verdict == UNDETERMINED:
        told = "base seeds would decide it, if mean and scatter stay"
        return f"{claim.needed:,} {told}" if claim.needed else ""
    if len(sure) < 2 or claim not in sure:
        return ""
    return (
        f"it stays decided for all {len(sure)} claims together (Holm)"
        if sure[claim]
        else f"that is by itself, not for all {len(sure)} claims together (Holm)"
    )


def _together(claims: Sequence[Claim]) -> dict[Claim, bool]:
    """Return of each claim that an interval judged whether all of them together decide it."""
    judged = [c for c in claims if np.isfinite(doubt_of(c.verdict))]
    corrected = holm(np.array([doubt_of(c.verdict) for c in judged]))
    return {c: bool(p <= LEVEL) for c, p in zip(judged, corrected, strict=True)}
