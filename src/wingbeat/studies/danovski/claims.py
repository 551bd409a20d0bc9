"""The claims of Danovski, Soriano and Lacasa, each with what is measured here and a verdict.

A claim with a published number holds if the value here lies within a stated tolerance of it; a
claim about a sign or an order is judged by the whole interval. Claims that say two things have a
verdict for each part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from wingbeat.errors import NOT_TRAINED, REASON_TEXT
from wingbeat.report.figures.estimates import estimate_text
from wingbeat.report.prose import number, percent
from wingbeat.studies.danovski.measure import CHAOTIC
from wingbeat.studies.danovski.orbits import PUBLISHED_LAGS
from wingbeat.studies.danovski.plan import size_text
from wingbeat.study.verdicts import FAILS, HOLDS, NOT_RUN, UNDETERMINED, Claim, all_of, judge

if TYPE_CHECKING:
    from wingbeat.studies.danovski.found import DanovskiFindings, DanovskiMeasurement
    from wingbeat.study.analysis import Analysis
    from wingbeat.study.verdicts import Verdict

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
BAND: Final = 0.1
"""Accepted share above which a learning rate is inside the band of positive nMLE."""
ABSENT: Final = "not measured yet"


def tested(found: Analysis) -> tuple[Claim, ...]:
    """Return every claim of the paper that is tested here."""
    return claims(found.own)


def claims(found: DanovskiFindings) -> tuple[Claim, ...]:
    """Return every claim; those of which something is not measured yet are not run."""
    missing = (REASON_TEXT[NOT_TRAINED], ABSENT)
    return tuple(
        replace(c, measured=ABSENT, note="", verdict=NOT_RUN)
        if any(text in c.measured for text in missing)
        else c
        for c in _tested(found)
    )


def _tested(found: DanovskiFindings) -> Iterator[Claim]:
    yield from _published(found, 1e-8)
    yield from _published(found, 1e-4)
    yield from _falls(found)
    yield _none(found)
    yield _window(found)
    yield from _transient(found)
    yield _linear(found)
    yield _orbit(found)
    yield from _idle(found)
    yield from _lags(found)
    yield _expansion(found)
    yield _soonest(found)


def _near(value: float, published: float, tolerance: float) -> Verdict:
    return HOLDS if abs(value - published) <= tolerance else FAILS


def _published(found: DanovskiFindings, epsilon: float) -> Iterator[Claim]:
    here = found.one("nmle", 1.0, epsilon)
    value, count = PUBLISHED[epsilon]
    share = count / PUBLISHED_INITS
    claim = Claim(
        f"nmle_{epsilon:g}",
        f"At η = 1 the nMLE is positive (ε = {size_text(epsilon)}).",
        number(value),
        here.text("nmle"),
        _near(here["nmle"].value, value, TOLERANCE),
        f"Tolerance {TOLERANCE:g} and {100 * POINTS:g} points. Intervals are over "
        "initialisations; the training rows are drawn anew.",
        "value",
    )
    yield claim
    yield replace(
        claim,
        published=f"{percent(share)} accepted",
        measured=here.text("accepted"),
        verdict=_near(here["accepted"].value, share, POINTS),
        note="",
        part="accepted share",
    )


def _falls(found: DanovskiFindings) -> Iterator[Claim]:
    rows = [m for m in found.all("nmle") if m.options.eta == 1.0 and not m["nmle"].reason]
    rows.sort(key=lambda m: m.options.epsilon)
    values = [m["nmle"].value for m in rows]
    ends = [f"{estimate_text(m['nmle'])} at {size_name(m)} (n = {m.count('nmle')})" for m in rows]
    claim = Claim(
        "falls",
        "The nMLE falls as the nudge grows.",
        "0.335 at 1e-14 to 0.075 at 1e-2",
        f"{ends[0]} to {ends[-1]}" if len(rows) > 1 else ABSENT,
        _apart(rows[0], rows[-1]) if len(rows) > 1 else NOT_RUN,
        "Larger nudges saturate within the windows of the fit: a property of the estimator, "
        "since an exponent does not depend on the size of the nudge.",
        "from the smallest size to the largest",
    )
    yield claim
    # Common draws serve every size, so that neighbours differ by far less than their intervals.
    down = all(b < a + 0.01 for a, b in pairwise(values))
    shown = ", ".join(number(v) for v in values) if len(rows) > 1 else ABSENT
    yield replace(
        claim, measured=shown, verdict=HOLDS if down else FAILS, note="", part="at every size"
    )


def _apart(first: DanovskiMeasurement, last: DanovskiMeasurement) -> Verdict:
    if first["nmle"].low > last["nmle"].high:
        return HOLDS
    return FAILS if first["nmle"].high < last["nmle"].low else UNDETERMINED


def _none(found: DanovskiFindings) -> Claim:
    rows = [m for m in found.all("nmle") if m.options.eta == 0.01]
    none = all(m["accepted"].value == 0 for m in rows)
    calm = found.one("renormalised", 0.01)
    return Claim(
        "none",
        "At η = 0.01 training is not chaotic: no initialisation has an nMLE.",
        "0 % accepted",
        "; ".join(f"accepted {m.text('accepted')}" for m in rows[:1]) or ABSENT,
        HOLDS if none else FAILS,
        f"Renormalised exponent over all updates: {calm.text(whole_name(calm))}. The rule "
        "asks for a slope above 0.05 and cannot see a weaker one.",
    )


def _window(found: DanovskiFindings) -> Claim:
    here = found.one("nmle", 1.0, 1e-8)
    whole, same = here["renormalised_all"], here["renormalised_same_window"]
    verdict: Verdict = FAILS if here["nmle"].low > whole.high else HOLDS
    return Claim(
        "maximum",
        "The nMLE is the maximum exponent of the 200 updates.",
        "0.285",
        f"nMLE {estimate_text(here['nmle'])}; renormalised exponent of the same nets: "
        f"{estimate_text(whole)} over all updates and nets, "
        f"{estimate_text(here['renormalised_accepted'])} over all updates of accepted nets, "
        f"{estimate_text(same)} in the windows that the nMLE chose",
        UNDETERMINED if whole.reason or same.reason else verdict,
        "What lifts the nMLE is the choice of the straightest window, and a little that of the "
        "nets: in the same windows the renormalised exponent is as large."
        if here["nmle"].low < same.value < here["nmle"].high
        else "",
    )


def _transient(found: DanovskiFindings) -> Iterator[Claim]:
    here = found.one("renormalised", 1.0)
    late = late_name(here)
    claim = Claim(
        "chaotic",
        "At η = 1 training is chaotic.",
        "nMLE over updates 0–200",
        f"renormalised exponent {here.text('exponent_0-200')}; above {CHAOTIC:g} in "
        f"{here.text('early_positive')} of the nets",
        judge(here["exponent_0-200"], CHAOTIC, above=True),
        f"Chaotic: an exponent above {CHAOTIC:g}, later also in more than half of the nets. A "
        "largest exponent is never below 0 here, because 11 directions that shift all logits "
        "alike are neutral.",
        "over the first 200 updates",
    )
    yield claim
    yield replace(
        claim,
        measured=f"{here.text(late)} over {late.removeprefix('exponent_').replace('-', '–')}; "
        f"above {CHAOTIC:g} in {here.text('late_positive')} of the nets there",
        verdict=all_of(
            judge(here[late], CHAOTIC, above=True), judge(here["late_positive"], 0.5, above=True)
        ),
        note="",
        part="later",
    )


def _linear(found: DanovskiFindings) -> Claim:
    rows = [m for m in found.all("orbit") if m.options.eta == 0.01]
    ends = [m["early_end"].value for m in rows]
    spread = max(ends) / min(ends) - 1 if len(ends) > 1 else float("nan")
    return Claim(
        "linear",
        "At η = 0.01 the distance in units of the nudge does not depend on its size.",
        "nearly independent over 13 decades; 0.5 grows to 0.7–1.0",
        "; ".join(f"{size_name(m)}: {m.text('early_end')}" for m in rows)
        if len(rows) > 1
        else ABSENT,
        HOLDS if spread < 0.02 else FAILS,
        f"d ÷ (εN) at the end, N = 70; the sizes differ by {percent(spread)} at most.",
    )


def _orbit(found: DanovskiFindings) -> Claim:
    here = found.one("orbit", 0.01, 1e-8)
    ratio = here["late_ratio"]
    shrinks = "The interval excludes 1: copies do draw together, slowly. " * (ratio.high < 1)
    return Claim(
        "marginal",
        "Nudged late at η = 0.01, copies do not collapse on the reference: marginal stability.",
        "0.50 → 0.46–0.50 in 1000 updates",
        f"d ÷ (εN) {estimate_text(here['late_start'])} → {estimate_text(here['late_end'])}; ratio "
        f"{here.text('late_ratio')}, least of any copy {estimate_text(here['late_ratio_least'])}; "
        f"{estimate_text(here['late_ratio_essential'])} without the neutral directions",
        judge(ratio, 0.8, above=True),
        f"Collapse: a ratio below 0.8. {shrinks}11 neutral directions could not collapse at any "
        "learning rate; the ratio without them is beside. It says nothing of longer times.",
    )


def _idle(found: DanovskiFindings) -> Iterator[Claim]:
    here = found.one("weights", 0.01)
    line, share = here["log_correlation"], here["irrelevant"]
    claim = Claim(
        "idle",
        "Many weights hardly move and hardly matter.",
        "Δ 1e-6–10, near-proportional to the path",
        f"Δ {number(here['weight_least'].value)} to {number(here['weight_most'].value)}; ln Δ "
        f"against ln path: correlation {estimate_text(line)}, slope "
        f"{estimate_text(here['log_slope'])}",
        judge(line, 0.8, above=True),
        f"After {here.options.steps} updates at η = 0.01; weights of the first layer set to 0 "
        "one at a time. Proportional: correlation above 0.8; hardly matter: more than half of them "
        "change the loss by less than 5 %.",
        "displacement Δ follows the path",
    )
    yield claim
    yield replace(
        claim,
        published="most L_w ÷ L ≈ 1, up to 3.9",
        measured=f"L_w ÷ L within 0.05 of 1 for {here.text('irrelevant')}, up to "
        f"{estimate_text(here['loss_ratio_most'])}",
        verdict=judge(share, 0.5, above=True),
        note="",
        part="the loss does without most of them",
    )


def _lags(found: DanovskiFindings) -> Iterator[Claim]:
    here = found.one("series", 5.0)
    near = [here[f"nearest_lag_{i}"].value for i in (1, 2, 3)]
    mean = [estimate_text(here[f"lag_{i}"]) for i in (1, 2, 3)]
    close = all(abs(v - p) < 0.1 for v, p in zip(near, PUBLISHED_LAGS, strict=True))
    claim = Claim(
        "period_3",
        "At η = 5 the loss jumps between bands, with a period near 3.",
        "autocorrelation −0.28, −0.32, +0.17 at lags 1, 2, 3 of one run",
        f"period a multiple of 3 in {here.text('period_3')}, some period in "
        f"{here.text('periodic')}, constant in {here.text('constant')} of the nets; "
        f"mean autocorrelation {', '.join(mean)}; nearest net "
        f"{', '.join(number(v) for v in near)}",
        HOLDS if here["period_3"].low > 0 else FAILS,
        "Nets differ: no single autocorrelation stands for η = 5. The published numbers are of "
        f"one run, and {'a net' if close else 'no net'} here comes within 0.1 of all three.",
        "in some nets",
    )
    yield claim
    yield replace(
        claim,
        measured=here.text("period_3"),
        verdict=judge(here["period_3"], 0.5, above=True),
        note="",
        part="in most nets",
    )


def _expansion(found: DanovskiFindings) -> Claim:
    here, late = found.one("series", 5.0), found.one("renormalised", 5.0)
    mode = here["expansion_mode"]
    near: Verdict = HOLDS if 0.2 <= mode.value <= 0.3 else FAILS
    beside = (
        f" Renormalised exponent {late.text(late_name(late))} late, above {CHAOTIC:g} in "
        f"{late.text('late_positive')} of the nets."
    )
    return Claim(
        "expansion",
        "At η = 5 nearby losses part exponentially.",
        "mode of the rate 0.2–0.3, tail to 2.2",
        f"mode {estimate_text(mode)}, median {here.text('expansion_median')}, largest "
        f"{estimate_text(here['expansion_most'])}; above 0 for {here.text('expansion_positive')} "
        "of the points",
        UNDETERMINED if mode.reason else near,
        "Rates of all nets that have not settled; the published ones are of one run. The recipe "
        "leaves open how points are drawn, whether neighbours in time count, and "
        "which line is judged; see the definitions. Equal losses are not equal nets: a rate of "
        f"one loss series is no exponent of the weights.{beside if late.content else ''}",
    )


def _soonest(found: DanovskiFindings) -> Claim:
    rows = [m for m in found.all("accuracy") if not m["time"].reason]
    best = min(rows, key=lambda m: m["time"].value, default=None)
    # Those whose interval reaches the best one's cannot be told from it.
    tied = [m for m in rows if best and m["time"].low <= best["time"].high]
    inside = [m["accepted"].low > BAND for m in tied]
    return Claim(
        "soonest",
        "Accuracy is reached in the fewest updates where the nMLE is positive (follow-up, arXiv "
        "2506.08523).",
        "minimum inside the band",
        "; ".join(
            f"η = {m.options.eta:g}: median {m.text('time')} updates, accepted "
            f"{m.text('accepted')}, nMLE {estimate_text(m['nmle'])}, renormalised exponent "
            f"{estimate_text(m['renormalised'])}"
            for m in tied
        )
        or ABSENT,
        HOLDS if all(inside) else UNDETERMINED if any(inside) else FAILS,
        "First update at which 90 % of the test rows are right; it may be lost again. Listed are "
        "the learning rates that cannot be told from the fastest one; those of which surely more "
        f"than {percent(BAND)} are accepted count as inside the band. Larger ones in the band are "
        "slower, and some never arrive.",
    )


def late_name(found: DanovskiMeasurement) -> str:
    """Return the name of the exponent over the later part."""
    return f"exponent_{found.options.late}-{found.options.steps}"


def whole_name(found: DanovskiMeasurement) -> str:
    """Return the name of the exponent over all updates."""
    return f"exponent_0-{found.options.steps}"


def size_name(found: DanovskiMeasurement) -> str:
    """Return the size of a measurement's nudges in words."""
    return f"ε = {size_text(found.options.epsilon)}"
