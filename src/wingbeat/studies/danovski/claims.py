"""The claims of Danovski, Soriano and Lacasa, each with what is measured here and a verdict.

A claim with a published number holds if the value here lies within a stated tolerance of it; a
claim about a sign or an order holds if the whole interval says so. Everything else is open.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import isnan
from typing import TYPE_CHECKING, Final

from wingbeat.errors import NOT_TRAINED, REASON_TEXT
from wingbeat.report.pages.claims import CheckedClaim
from wingbeat.report.prose import number, percent
from wingbeat.studies.danovski.found import words
from wingbeat.studies.danovski.measure import CHAOTIC
from wingbeat.studies.danovski.orbit_claims import (
    FAILS,
    HOLDS,
    OPEN,
    PARTLY,
    expansion,
    idle,
    lags,
    late_name,
    linear,
    orbit,
    size_name,
    soonest,
    whole_name,
)
from wingbeat.studies.danovski.plan import size_text

if TYPE_CHECKING:
    from wingbeat.studies.danovski.found import Found

PUBLISHED: Final = {
    1e-14: (0.335, 435),
    1e-12: (0.320, 460),
    1e-10: (0.310, 441),
    1e-8: (0.285, 449),
    1e-6: (0.248, 412),
    1e-4: (0.174, 312),
    1e-3: (0.118, 190),
    1e-2: (0.075, 48),
    1e-1: (float("nan"), 0),
}
"""nMLE at η = 1 and how many of 500 initialisations were accepted, by ε; read off a figure."""
PUBLISHED_INITS: Final = 500
TOLERANCE: Final = 0.03
"""Of an nMLE, 1/update."""
POINTS: Final = 0.06
"""Of an accepted share."""


def claims(found: Found) -> tuple[CheckedClaim, ...]:
    """Return every claim of the paper that is tested here; those not measured yet are open."""
    absent = REASON_TEXT[NOT_TRAINED]
    return tuple(
        replace(c, measured="not measured yet", note="") if absent in c.measured else c
        for c in _tested(found)
    )


def _tested(found: Found) -> tuple[CheckedClaim, ...]:
    return (
        _published(found, 1e-8),
        _published(found, 1e-4),
        _falls(found),
        _none(found),
        _window(found),
        _transient(found),
        linear(found),
        orbit(found),
        idle(found),
        lags(found),
        expansion(found),
        soonest(found),
    )


def _published(found: Found, epsilon: float) -> CheckedClaim:
    here = found.one("nmle", 1.0, epsilon)
    value, count = PUBLISHED[epsilon]
    share = count / PUBLISHED_INITS
    near = (
        abs(here["nmle"].value - value) <= TOLERANCE,
        abs(here["accepted"].value - share) <= POINTS,
    )
    verdict = OPEN if not here.content else {2: HOLDS, 1: PARTLY, 0: FAILS}[sum(near)]
    return CheckedClaim(
        f"nmle_{epsilon:g}",
        f"At η = 1 the nMLE is positive (ε = {size_text(epsilon)}).",
        f"{number(value)}, {percent(share)} accepted",
        f"{here.text('nmle')}; accepted {here.text('accepted')}",
        verdict,
        f"Tolerance {TOLERANCE:g} and {100 * POINTS:g} points. Intervals are over "
        "initialisations; the training rows are drawn anew.",
    )


def _falls(found: Found) -> CheckedClaim:
    rows = [m for m in found.all("nmle") if m.options.eta == 1.0 and not m["nmle"].reason]
    rows.sort(key=lambda m: m.options.epsilon)
    values = [m["nmle"].value for m in rows]
    # Common draws serve every size, so that neighbours differ by far less than their intervals.
    down = all(b < a + 0.01 for a, b in pairwise(values))
    apart = len(rows) > 1 and rows[0]["nmle"].low > rows[-1]["nmle"].high
    ends = [f"{words(m['nmle'])} at {size_name(m)} (n = {m.count('nmle')})" for m in rows]
    return CheckedClaim(
        "falls",
        "The nMLE falls as the nudge grows.",
        "0.335 at 1e-14 to 0.075 at 1e-2",
        f"{ends[0]} to {ends[-1]}" if len(rows) > 1 else "not measured yet",
        OPEN if len(rows) < 2 else HOLDS if down and apart else PARTLY if apart else FAILS,
        "Larger nudges saturate within the windows of the fit: a property of the estimator, "
        "since an exponent does not depend on the size of the nudge.",
    )


def _none(found: Found) -> CheckedClaim:
    rows = [m for m in found.all("nmle") if m.options.eta == 0.01]
    accepted = [m["accepted"] for m in rows]
    none = all(e.value == 0 for e in accepted)
    calm = found.one("renormalised", 0.01)
    return CheckedClaim(
        "none",
        "At η = 0.01 training is not chaotic: no initialisation has an nMLE.",
        "0 % accepted",
        "; ".join(f"accepted {m.text('accepted')}" for m in rows[:1]) or "not measured yet",
        OPEN if not rows else HOLDS if none else FAILS,
        f"Renormalised exponent over all updates: {calm.text(whole_name(calm))}. The rule "
        "asks for a slope above 0.05 and cannot see a weaker one.",
    )


def _window(found: Found) -> CheckedClaim:
    here = found.one("nmle", 1.0, 1e-8)
    whole, same = here["renormalised_all"], here["renormalised_same_window"]
    if whole.reason or same.reason:
        verdict = OPEN
    else:
        verdict = FAILS if here["nmle"].low > whole.high else HOLDS
    return CheckedClaim(
        "maximum",
        "The nMLE is the maximum exponent of the 200 updates.",
        "0.285",
        f"nMLE {words(here['nmle'])}; renormalised exponent of the same nets: "
        f"{words(whole)} over all updates and nets, "
        f"{words(here['renormalised_accepted'])} over all updates of accepted nets, "
        f"{words(same)} in the windows that the nMLE chose",
        verdict,
        "What lifts the nMLE is the choice of the straightest window, and a little that of the "
        "nets: in the same windows the renormalised exponent is as large."
        if here["nmle"].low < same.value < here["nmle"].high
        else "",
    )


def _transient(found: Found) -> CheckedClaim:
    here = found.one("renormalised", 1.0)
    late = late_name(here)
    early, after = here["exponent_0-200"], here[late]
    if early.reason or after.reason or isnan(after.high):
        verdict = OPEN
    elif early.low > CHAOTIC:
        lasts = after.low > CHAOTIC and here["late_positive"].low > 0.5
        verdict = HOLDS if lasts else PARTLY
    else:
        verdict = FAILS
    return CheckedClaim(
        "chaotic",
        "At η = 1 training is chaotic.",
        "nMLE over updates 0–200",
        f"renormalised exponent {here.text('exponent_0-200')} over 0–200, "
        f"{here.text(late)} over {late.removeprefix('exponent_').replace('-', '–')}; exponent "
        f"above 0.005 in {here.text('late_positive')} of the nets there",
        verdict,
        f"Above 0.005 in {here.text('early_positive')} of the nets over 0–200. It holds in part "
        "where most of that is gone later. A largest exponent is never below 0 here, because 11 "
        "directions that shift all logits alike are neutral.",
    )
