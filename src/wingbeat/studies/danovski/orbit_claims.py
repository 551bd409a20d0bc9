"""Claims on stability, idle weights, the loss at large η, and the time to accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wingbeat.report.pages.claims import CheckedClaim
from wingbeat.report.prose import number, percent
from wingbeat.studies.danovski.found import words
from wingbeat.studies.danovski.orbits import PUBLISHED_LAGS
from wingbeat.studies.danovski.plan import size_text

if TYPE_CHECKING:
    from wingbeat.studies.danovski.found import Found, Measured

HOLDS: Final = "holds"
FAILS: Final = "does not hold"
PARTLY: Final = "holds in part"
OPEN: Final = "open"
_BAND = 0.1


def linear(found: Found) -> CheckedClaim:
    """Distance in units of the nudge, for several sizes."""
    rows = [m for m in found.all("orbit") if m.options.eta == 0.01]
    ends = [m["early_end"].value for m in rows]
    spread = max(ends) / min(ends) - 1 if ends else float("nan")
    return CheckedClaim(
        "linear",
        "At η = 0.01 the distance in units of the nudge does not depend on its size.",
        "nearly independent over 13 decades; 0.5 grows to 0.7–1.0",
        "; ".join(f"{size_name(m)}: {m.text('early_end')}" for m in rows) or "not measured yet",
        OPEN if len(rows) < 2 else HOLDS if spread < 0.02 else FAILS,
        f"d ÷ (εN) at the end, N = 70; the sizes differ by {percent(spread)} at most."
        if ends
        else "",
    )


def orbit(found: Found) -> CheckedClaim:
    """Copies nudged late."""
    here = found.one("orbit", 0.01, 1e-8)
    ratio, essential = here["late_ratio"], here["late_ratio_essential"]
    shrinks = "The interval excludes 1: copies do draw together, slowly. " * (ratio.high < 1)
    text = (
        f"d ÷ (εN) {words(here['late_start'])} → {words(here['late_end'])}; ratio "
        f"{here.text('late_ratio')}, least of any copy {words(here['late_ratio_least'])}; "
        f"{words(essential)} without the neutral directions"
    )
    return CheckedClaim(
        "marginal",
        "Nudged late at η = 0.01, copies do not collapse on the reference: marginal stability.",
        "0.50 → 0.46–0.50 in 1000 updates",
        text,
        OPEN if ratio.reason else HOLDS if ratio.low > 0.8 else FAILS,
        f"{shrinks}11 neutral directions could not collapse at any learning rate; the ratio "
        "without them is beside. It says nothing of longer times.",
    )


def idle(found: Found) -> CheckedClaim:
    """Displacement and path of weights, and the loss without one."""
    here = found.one("weights", 0.01)
    line, share = here["log_correlation"], here["irrelevant"]
    ok = (line.low > 0.8, share.low > 0.5)
    verdict = OPEN if line.reason or share.reason else {2: HOLDS, 1: PARTLY, 0: FAILS}[sum(ok)]
    return CheckedClaim(
        "idle",
        "Many weights hardly move and hardly matter.",
        "Δ 1e-6–10, near-proportional to the path; most L_w ÷ L ≈ 1, up to 3.9",
        f"Δ {number(here['weight_least'].value)} to {number(here['weight_most'].value)}; ln Δ "
        f"against ln path: correlation {words(line)}, slope {words(here['log_slope'])}; "
        f"L_w ÷ L within 0.05 of 1 for {here.text('irrelevant')}, up to "
        f"{words(here['loss_ratio_most'])}",
        verdict,
        f"After {here.options.steps} updates at η = 0.01; weights of the first layer set to 0 "
        "one at a time.",
    )


def lags(found: Found) -> CheckedClaim:
    """Periods and autocorrelation of the loss at η = 5."""
    here = found.one("series", 5.0)
    near = [here[f"nearest_lag_{i}"].value for i in (1, 2, 3)]
    mean = [words(here[f"lag_{i}"]) for i in (1, 2, 3)]
    close = all(abs(v - p) < 0.1 for v, p in zip(near, PUBLISHED_LAGS, strict=True))
    return CheckedClaim(
        "period_3",
        "At η = 5 the loss jumps between bands, with a period near 3.",
        "autocorrelation −0.28, −0.32, +0.17 at lags 1, 2, 3 of one run",
        f"period a multiple of 3 in {here.text('period_3')}, some period in "
        f"{here.text('periodic')}, constant in {here.text('constant')} of the nets; "
        f"mean autocorrelation {', '.join(mean)}; nearest net "
        f"{', '.join(number(v) for v in near)}",
        OPEN if here["period_3"].reason else PARTLY if here["period_3"].low > 0 else FAILS,
        "Nets differ: no single autocorrelation stands for η = 5. The published numbers are of "
        f"one run, and {'a net' if close else 'no net'} here comes within 0.1 of all three.",
    )


def expansion(found: Found) -> CheckedClaim:
    """Rates at which nearby losses part at η = 5."""
    here = found.one("series", 5.0)
    mode = here["expansion_mode"]
    late = found.one("renormalised", 5.0)
    near = 0.2 <= mode.value <= 0.3
    return CheckedClaim(
        "expansion",
        "At η = 5 nearby losses part exponentially.",
        "mode of the rate 0.2–0.3, tail to 2.2",
        f"mode {words(mode)}, median {here.text('expansion_median')}, largest "
        f"{words(here['expansion_most'])}; above 0 for {here.text('expansion_positive')} of the "
        f"points; renormalised exponent {late.text(late_name(late))} late, above 0.005 in "
        f"{late.text('late_positive')} of the nets",
        OPEN if mode.reason else HOLDS if near else FAILS,
        "Rates of all nets that have not settled; the published ones are of one run. The recipe "
        "leaves open how points are drawn, whether neighbours in time count, and "
        "which line is judged; see the definitions. Equal losses are not equal nets: a rate of "
        "one loss series is no exponent of the weights.",
    )


def soonest(found: Found) -> CheckedClaim:
    """The learning rate that reaches accuracy soonest."""
    rows = [m for m in found.all("accuracy") if not m["time"].reason]
    best = min(rows, key=lambda m: m["time"].value, default=None)
    if best is None:
        return _soonest_claim("not measured yet", OPEN, "")
    # Those whose interval reaches the best one's cannot be told from it.
    tied = [m for m in rows if m["time"].low <= best["time"].high]
    text = "; ".join(
        f"η = {m.options.eta:g}: median {m.text('time')} updates, accepted {m.text('accepted')}, "
        f"nMLE {words(m['nmle'])}, renormalised exponent {words(m['renormalised'])}"
        for m in tied
    )
    inside = [m["accepted"].low > _BAND for m in tied]
    verdict = HOLDS if all(inside) else PARTLY if any(inside) else FAILS
    note = (
        "Listed are the learning rates that cannot be told from the soonest one; those of which "
        f"surely more than {percent(_BAND)} are accepted count as inside the band. Larger ones in "
        "the band are slower, and some never arrive."
    )
    return _soonest_claim(text, verdict, note)


def _soonest_claim(text: str, verdict: str, note: str) -> CheckedClaim:
    return CheckedClaim(
        "soonest",
        "Accuracy is reached soonest where the nMLE is positive (follow-up, arXiv 2506.08523).",
        "minimum inside the band",
        text,
        verdict,
        f"First update at which 90 % of the test rows are right; it may be lost again. {note}",
    )


def late_name(found: Measured) -> str:
    """Return the name of the exponent over the later part."""
    return f"exponent_{found.options.late}-{found.options.steps}"


def whole_name(found: Measured) -> str:
    """Return the name of the exponent over all updates."""
    return f"exponent_0-{found.options.steps}"


def size_name(found: Measured) -> str:
    """Return the size of a measurement's nudges in words."""
    return f"ε = {size_text(found.options.epsilon)}"
