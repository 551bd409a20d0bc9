"""Each claim of the study of Danovski et al., ruled on measurements that are made up by hand."""

from __future__ import annotations

from typing import Any

import pytest

from wingbeat.studies.danovski.claims import claims
from wingbeat.studies.danovski.found import DanovskiFindings, DanovskiMeasurement
from wingbeat.studies.danovski.plan import DanovskiOptions, Experiment
from wingbeat.study.verdicts import FAILS, HOLDS, NOT_RUN, UNDETERMINED, Claim

STEPS = {"renormalised": (1000, 500), "series": (8000, 2700), "orbit": (1000, 800)}
Value = float | tuple[float, float, float]


def m(
    experiment: Experiment, eta: float, epsilon: float = 1e-8, **values: Value
) -> DanovskiMeasurement:
    """One measurement; a value is a number, or (value, low, high)."""
    steps, late = STEPS.get(experiment, (200, 0))
    content: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        v, low, high = value if isinstance(value, tuple) else (value, value, value)
        numbers = {"value": v, "low": low, "high": high, "n": 9, "reason": ""}
        content[name.replace("__", "-")] = numbers
    return DanovskiMeasurement(
        DanovskiOptions(experiment, eta, 9, steps, epsilon, 3, late), content
    )


def made(*measured: DanovskiMeasurement) -> DanovskiFindings:
    found = object.__new__(DanovskiFindings)
    found.measured = list(measured)
    return found


def ruled(ident: str, *measured: DanovskiMeasurement) -> tuple[Claim, ...]:
    return tuple(c for c in claims(made(*measured)) if c.ident == ident)


def fit(value: float, accepted: float, epsilon: float, eta: float = 1.0) -> DanovskiMeasurement:
    return m("nmle", eta, epsilon, nmle=(value, value - 0.01, value + 0.01), accepted=accepted)


def chosen(nmle: Value, whole: Value, same: Value = 0.3) -> DanovskiMeasurement:
    return m("nmle", 1.0, 1e-8, nmle=nmle, renormalised_all=whole, renormalised_accepted=0.2,
             renormalised_same_window=same)  # fmt: skip


def course(
    early: Value, late: Value, positive: Value = 0.9, eta: float = 1.0
) -> DanovskiMeasurement:
    return m("renormalised", eta, 0.0, exponent_0__200=early, exponent_500__1000=late,
             early_positive=0.8, late_positive=positive, exponent_0__1000=0.01)  # fmt: skip


def late(
    ratio: tuple[float, float, float], eta: float = 0.01, epsilon: float = 1e-8
) -> DanovskiMeasurement:
    return m("orbit", eta, epsilon, late_ratio=ratio, late_ratio_essential=0.9, late_start=0.5,
             late_end=0.48, late_ratio_least=0.7)  # fmt: skip


def series(
    mode: float = 0.25,
    period: Value = (0.3, 0.2, 0.4),
    lags: tuple[float, ...] = (-0.28, -0.32, 0.17),
) -> DanovskiMeasurement:
    near = {f"nearest_lag_{i}": v for i, v in enumerate(lags, 1)}
    mean = {f"lag_{i}": 0.0 for i in (1, 2, 3)}
    rates = {"expansion_mode": mode, "expansion_median": 0.3, "expansion_most": 2.0}
    shares = {"period_3": period, "periodic": 0.4, "constant": 0.1, "expansion_positive": 0.9}
    return m("series", 5.0, 0.0, **rates, **shares, **near, **mean)


def timed(eta: float, time: tuple[float, float, float], accepted: Value) -> DanovskiMeasurement:
    return m("accuracy", eta, time=time, accepted=accepted, nmle=0.3, renormalised=0.01, reached=1)


def weights(line: Value, share: Value) -> DanovskiMeasurement:
    return m("weights", 0.01, 0.0, log_correlation=line, irrelevant=share, weight_least=1e-6,
             weight_most=10.0, log_slope=1.0, loss_ratio_most=3.9)  # fmt: skip


BOTH, FIRST, NEITHER = (HOLDS, HOLDS), (HOLDS, FAILS), (FAILS, FAILS)
"""Verdicts of claims with two parts."""
CASES: list[tuple[str, list[DanovskiMeasurement], tuple[str, ...]]] = [
    # Published 0.285 with 449 of 500 accepted; 0.174 with 312 of 500.
    ("nmle_1e-08", [fit(0.285, 449 / 500, 1e-8)], BOTH),
    ("nmle_1e-08", [fit(0.285 + 0.029, 449 / 500 - 0.059, 1e-8)], BOTH),
    ("nmle_1e-08", [fit(0.285 + 0.031, 449 / 500, 1e-8)], (FAILS, HOLDS)),
    ("nmle_1e-08", [fit(0.285, 449 / 500 - 0.061, 1e-8)], FIRST),
    ("nmle_1e-08", [fit(0.174, 312 / 500, 1e-8)], NEITHER),
    ("nmle_1e-08", [fit(0.285, 449 / 500, 1e-4)], (NOT_RUN, NOT_RUN)),
    ("nmle_1e-08", [fit(0.285, 449 / 500, 1e-8, eta=5.0)], (NOT_RUN, NOT_RUN)),
    ("nmle_0.0001", [fit(0.174, 312 / 500, 1e-4)], BOTH),
    ("nmle_0.0001", [fit(0.285, 449 / 500, 1e-4)], NEITHER),
    ("falls", [fit(0.335, 1, 1e-14), fit(0.285, 1, 1e-8), fit(0.075, 1, 1e-2)], BOTH),
    ("falls", [fit(0.075, 1, 1e-2), fit(0.285, 1, 1e-8), fit(0.335, 1, 1e-14)], BOTH),
    ("falls", [fit(0.3, 1, 1e-14), fit(0.305, 1, 1e-8), fit(0.1, 1, 1e-2)], BOTH),
    ("falls", [fit(0.3, 1, 1e-14), fit(0.35, 1, 1e-8), fit(0.1, 1, 1e-2)], FIRST),
    ("falls", [fit(0.075, 1, 1e-14), fit(0.335, 1, 1e-2)], NEITHER),
    ("falls", [fit(0.3, 1, 1e-14), fit(0.295, 1, 1e-2)], (UNDETERMINED, HOLDS)),
    ("falls", [fit(0.3, 1, 1e-8)], (NOT_RUN, NOT_RUN)),
    ("falls", [fit(0.3, 1, 1e-8), fit(0.1, 1, 1e-2, eta=5.0)], (NOT_RUN, NOT_RUN)),
    ("none", [fit(0.0, 0.0, 1e-8, eta=0.01)], (HOLDS,)),
    ("none", [fit(0.0, 0.0, 1e-8, eta=0.01), fit(0.1, 0.1, 1e-4, eta=0.01)], (FAILS,)),
    ("none", [fit(0.3, 0.9, 1e-8, eta=1.0)], (NOT_RUN,)),
    ("maximum", [chosen((0.28, 0.27, 0.29), (0.1, 0.05, 0.15))], (FAILS,)),
    ("maximum", [chosen((0.28, 0.27, 0.29), (0.25, 0.2, 0.3))], (HOLDS,)),
    ("maximum", [chosen((0.28, 0.14, 0.42), (0.1, 0.05, 0.15))], (HOLDS,)),
    ("chaotic", [course((0.05, 0.04, 0.06), (0.02, 0.01, 0.03), (0.9, 0.8, 1.0))], BOTH),
    ("chaotic", [course((0.05, 0.04, 0.06), (0.02, 0.01, 0.03), (0.6, 0.4, 0.8))],
     (HOLDS, UNDETERMINED)),
    ("chaotic", [course((0.05, 0.04, 0.06), (0.02, 0.01, 0.03), (0.2, 0.1, 0.4))], FIRST),
    ("chaotic", [course((0.05, 0.04, 0.06), (0.006, 0.004, 0.008))], (HOLDS, UNDETERMINED)),
    ("chaotic", [course((0.05, 0.04, 0.06), (0.002, 0.001, 0.004))], FIRST),
    ("chaotic", [course((0.006, 0.004, 0.008), (0.05, 0.04, 0.06))], (UNDETERMINED, HOLDS)),
    ("chaotic", [course((0.003, 0.002, 0.004), (0.002, 0.001, 0.003))], NEITHER),
    ("chaotic", [course((0.05, 0.04, 0.06), (0.02, float("nan"), float("nan")))],
     (HOLDS, UNDETERMINED)),
    ("chaotic", [course((0.05, 0.04, 0.06), (0.02, 0.01, 0.03), eta=5.0)], (NOT_RUN, NOT_RUN)),
    ("linear", [m("orbit", 0.01, 1e-8, early_end=0.7), m("orbit", 0.01, 1e-4, early_end=0.71)],
     (HOLDS,)),
    ("linear", [m("orbit", 0.01, 1e-8, early_end=0.7), m("orbit", 0.01, 1e-4, early_end=0.72)],
     (FAILS,)),
    ("linear", [m("orbit", 0.01, 1e-8, early_end=0.72), m("orbit", 0.01, 1e-4, early_end=0.7)],
     (FAILS,)),
    ("linear", [m("orbit", 0.01, 1e-8, early_end=0.7), m("orbit", 1.0, 1e-4, early_end=0.7)],
     (NOT_RUN,)),
    ("marginal", [late((0.95, 0.9, 1.0))], (HOLDS,)),
    ("marginal", [late((0.95, 0.79, 1.1))], (UNDETERMINED,)),
    ("marginal", [late((0.75, 0.7, 0.79))], (FAILS,)),
    ("marginal", [late((0.95, 0.9, 1.0), eta=1.0)], (NOT_RUN,)),
    ("marginal", [late((0.95, 0.9, 1.0), epsilon=1e-4)], (NOT_RUN,)),
    ("idle", [weights((0.9, 0.85, 0.95), (0.7, 0.6, 0.8))], BOTH),
    ("idle", [weights((0.9, 0.75, 0.95), (0.7, 0.6, 0.8))], (UNDETERMINED, HOLDS)),
    ("idle", [weights((0.9, 0.85, 0.95), (0.6, 0.45, 0.8))], (HOLDS, UNDETERMINED)),
    ("idle", [weights((0.6, 0.5, 0.7), (0.3, 0.2, 0.4))], NEITHER),
    ("period_3", [series(period=(0.3, 0.2, 0.4))], FIRST),
    ("period_3", [series(period=(0.6, 0.4, 0.8))], (HOLDS, UNDETERMINED)),
    ("period_3", [series(period=(0.8, 0.6, 0.9))], BOTH),
    ("period_3", [series(period=(0.1, 0.0, 0.3))], NEITHER),
    ("expansion", [series(mode=0.2)], (HOLDS,)),
    ("expansion", [series(mode=0.3)], (HOLDS,)),
    ("expansion", [series(mode=0.19)], (FAILS,)),
    ("expansion", [series(mode=0.31)], (FAILS,)),
    ("soonest", [timed(1.0, (40, 35, 45), (0.9, 0.8, 1.0)), timed(0.1, (90, 80, 99), 0.0)],
     (HOLDS,)),
    ("soonest", [timed(1.0, (90, 80, 99), (0.9, 0.8, 1.0)), timed(0.1, (40, 35, 45), 0.0)],
     (FAILS,)),
    ("soonest", [timed(1.0, (40, 35, 45), (0.9, 0.8, 1.0)), timed(0.1, (48, 44, 52), 0.0)],
     (UNDETERMINED,)),
    ("soonest", [timed(1.0, (40, 35, 45), (0.2, 0.05, 0.4))], (FAILS,)),
]  # fmt: skip


@pytest.mark.parametrize(("ident", "measured", "given"), CASES)
def test_verdict(ident: str, measured: list[DanovskiMeasurement], given: tuple[str, ...]) -> None:
    assert tuple(c.verdict for c in ruled(ident, *measured)) == given


def test_every_part_of_every_claim_is_ruled_both_ways() -> None:
    """No claim stands in the study of which this table tests one outcome only."""
    outcomes: dict[tuple[str, str], set[str]] = {}
    for ident, measured, _ in CASES:
        for claim in ruled(ident, *measured):
            outcomes.setdefault((claim.ident, claim.part), set()).add(claim.verdict)
    assert set(outcomes) == {(c.ident, c.part) for c in claims(made())}
    assert {place for place, seen in outcomes.items() if not {HOLDS, FAILS} <= seen} == set()


def test_notes_say_what_the_numbers_show() -> None:
    assert "draw together" in ruled("marginal", late((0.95, 0.9, 0.99)))[0].note
    assert "draw together" not in ruled("marginal", late((0.95, 0.9, 1.01)))[0].note
    assert "and a net here" in ruled("period_3", series())[0].note
    assert "and no net here" in ruled("period_3", series(lags=(-0.28, -0.32, 0.28)))[0].note
    inside = chosen((0.28, 0.2, 0.35), (0.1, 0.05, 0.15), same=0.3)
    assert "straightest window" in ruled("maximum", inside)[0].note
    outside = chosen((0.28, 0.27, 0.29), (0.1, 0.05, 0.15), same=0.3)
    assert not ruled("maximum", outside)[0].note
    ends = (m("orbit", 0.01, 1e-8, early_end=0.5), m("orbit", 0.01, 1e-4, early_end=0.6))
    assert "20" in ruled("linear", *ends)[0].note


def test_measured_numbers_stand_in_the_text() -> None:
    value, share = ruled("nmle_1e-08", fit(0.291, 0.87, 1e-8))
    assert value.measured == "0.291 [0.281 to 0.301] (n = 9)"
    assert share.measured == "0.87 [0.87 to 0.87] (n = 9)"
    assert value.published == "0.285"
    assert share.published == "89.8 % accepted"
    ends, each = ruled("falls", fit(0.075, 1, 1e-2), fit(0.335, 1, 1e-14))
    assert ends.measured.index("0.335") < ends.measured.index("0.075")
    assert each.measured == "0.335, 0.075"
