"""Each claim of the study of Danovski et al., ruled on measurements that are made up by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from wingbeat.report.pages.claims import CheckedClaim
from wingbeat.studies.danovski.claims import claims
from wingbeat.studies.danovski.found import Found, Measured
from wingbeat.studies.danovski.orbit_claims import FAILS, HOLDS, OPEN, PARTLY
from wingbeat.studies.danovski.plan import Experiment, Options

STEPS = {"renormalised": (1000, 500), "series": (8000, 2700), "orbit": (1000, 800)}
Value = float | tuple[float, float, float]


def m(experiment: Experiment, eta: float, epsilon: float = 1e-8, **values: Value) -> Measured:
    """One measurement; a value is a number, or (value, low, high)."""
    steps, late = STEPS.get(experiment, (200, 0))
    content: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        v, low, high = value if isinstance(value, tuple) else (value, value, value)
        numbers = {"value": v, "low": low, "high": high, "n": 9, "reason": ""}
        content[name.replace("__", "-")] = numbers
    return Measured(Options(experiment, eta, 9, steps, epsilon, 3, late), content)


def ruled(ident: str, *measured: Measured) -> CheckedClaim:
    found = object.__new__(Found)
    found.measured = list(measured)
    found.plan, found.study = SimpleNamespace(), SimpleNamespace()
    return next(c for c in claims(found) if c.ident == ident)


def fit(value: float, accepted: float, epsilon: float, eta: float = 1.0) -> Measured:
    return m("nmle", eta, epsilon, nmle=(value, value - 0.01, value + 0.01), accepted=accepted)


def chosen(nmle: Value, whole: Value, same: Value = 0.3) -> Measured:
    return m("nmle", 1.0, 1e-8, nmle=nmle, renormalised_all=whole, renormalised_accepted=0.2,
             renormalised_same_window=same)  # fmt: skip


def course(early: Value, late: Value, positive: Value = 0.9, eta: float = 1.0) -> Measured:
    return m("renormalised", eta, 0.0, exponent_0__200=early, exponent_500__1000=late,
             early_positive=0.8, late_positive=positive, exponent_0__1000=0.01)  # fmt: skip


def late(ratio: tuple[float, float, float], eta: float = 0.01, epsilon: float = 1e-8) -> Measured:
    return m("orbit", eta, epsilon, late_ratio=ratio, late_ratio_essential=0.9, late_start=0.5,
             late_end=0.48, late_ratio_least=0.7)  # fmt: skip


def series(
    mode: float = 0.25,
    period: Value = (0.3, 0.2, 0.4),
    lags: tuple[float, ...] = (-0.28, -0.32, 0.17),
) -> Measured:
    near = {f"nearest_lag_{i}": v for i, v in enumerate(lags, 1)}
    mean = {f"lag_{i}": 0.0 for i in (1, 2, 3)}
    rates = {"expansion_mode": mode, "expansion_median": 0.3, "expansion_most": 2.0}
    shares = {"period_3": period, "periodic": 0.4, "constant": 0.1, "expansion_positive": 0.9}
    return m("series", 5.0, 0.0, **rates, **shares, **near, **mean)


def timed(eta: float, time: tuple[float, float, float], accepted: Value) -> Measured:
    return m("accuracy", eta, time=time, accepted=accepted, nmle=0.3, renormalised=0.01, reached=1)


def weights(line: Value, share: Value) -> Measured:
    return m("weights", 0.01, 0.0, log_correlation=line, irrelevant=share, weight_least=1e-6,
             weight_most=10.0, log_slope=1.0, loss_ratio_most=3.9)  # fmt: skip


CASES: list[tuple[str, list[Measured], str]] = [
    # Published 0.285 with 449 of 500 accepted; 0.174 with 312 of 500.
    ("nmle_1e-08", [fit(0.285, 449 / 500, 1e-8)], HOLDS),
    ("nmle_1e-08", [fit(0.285 + 0.029, 449 / 500 - 0.059, 1e-8)], HOLDS),
    ("nmle_1e-08", [fit(0.285 + 0.031, 449 / 500, 1e-8)], PARTLY),
    ("nmle_1e-08", [fit(0.285, 449 / 500 - 0.061, 1e-8)], PARTLY),
    ("nmle_1e-08", [fit(0.174, 312 / 500, 1e-8)], FAILS),
    ("nmle_1e-08", [fit(0.285, 449 / 500, 1e-4)], OPEN),
    ("nmle_1e-08", [fit(0.285, 449 / 500, 1e-8, eta=5.0)], OPEN),
    ("nmle_0.0001", [fit(0.174, 312 / 500, 1e-4)], HOLDS),
    ("nmle_0.0001", [fit(0.285, 449 / 500, 1e-4)], FAILS),
    ("falls", [fit(0.335, 1, 1e-14), fit(0.285, 1, 1e-8), fit(0.075, 1, 1e-2)], HOLDS),
    ("falls", [fit(0.075, 1, 1e-2), fit(0.285, 1, 1e-8), fit(0.335, 1, 1e-14)], HOLDS),
    ("falls", [fit(0.3, 1, 1e-14), fit(0.305, 1, 1e-8), fit(0.1, 1, 1e-2)], HOLDS),
    ("falls", [fit(0.3, 1, 1e-14), fit(0.35, 1, 1e-8), fit(0.1, 1, 1e-2)], PARTLY),
    ("falls", [fit(0.075, 1, 1e-14), fit(0.335, 1, 1e-2)], FAILS),
    ("falls", [fit(0.3, 1, 1e-14), fit(0.295, 1, 1e-2)], FAILS),
    ("falls", [fit(0.3, 1, 1e-8)], OPEN),
    ("falls", [fit(0.3, 1, 1e-8), fit(0.1, 1, 1e-2, eta=5.0)], OPEN),
    ("none", [fit(0.0, 0.0, 1e-8, eta=0.01)], HOLDS),
    ("none", [fit(0.0, 0.0, 1e-8, eta=0.01), fit(0.1, 0.1, 1e-4, eta=0.01)], FAILS),
    ("none", [fit(0.3, 0.9, 1e-8, eta=1.0)], OPEN),
    ("maximum", [chosen((0.28, 0.27, 0.29), (0.1, 0.05, 0.15))], FAILS),
    ("maximum", [chosen((0.28, 0.27, 0.29), (0.25, 0.2, 0.3))], HOLDS),
    ("maximum", [chosen((0.28, 0.14, 0.42), (0.1, 0.05, 0.15))], HOLDS),
    ("chaotic", [course((0.05, 0.04, 0.06), (0.02, 0.01, 0.03), (0.9, 0.8, 1.0))], HOLDS),
    ("chaotic", [course((0.05, 0.04, 0.06), (0.02, 0.01, 0.03), (0.6, 0.4, 0.8))], PARTLY),
    ("chaotic", [course((0.05, 0.04, 0.06), (0.006, 0.004, 0.008))], PARTLY),
    ("chaotic", [course((0.006, 0.004, 0.008), (0.05, 0.04, 0.06))], FAILS),
    ("chaotic", [course((0.05, 0.04, 0.06), (0.02, float("nan"), float("nan")))], OPEN),
    ("chaotic", [course((0.05, 0.04, 0.06), (0.02, 0.01, 0.03), eta=5.0)], OPEN),
    ("linear", [m("orbit", 0.01, 1e-8, early_end=0.7), m("orbit", 0.01, 1e-4, early_end=0.71)],
     HOLDS),
    ("linear", [m("orbit", 0.01, 1e-8, early_end=0.7), m("orbit", 0.01, 1e-4, early_end=0.72)],
     FAILS),
    ("linear", [m("orbit", 0.01, 1e-8, early_end=0.72), m("orbit", 0.01, 1e-4, early_end=0.7)],
     FAILS),
    ("linear", [m("orbit", 0.01, 1e-8, early_end=0.7), m("orbit", 1.0, 1e-4, early_end=0.7)], OPEN),
    ("marginal", [late((0.95, 0.9, 1.0))], HOLDS),
    ("marginal", [late((0.95, 0.79, 1.1))], FAILS),
    ("marginal", [late((0.95, 0.9, 1.0), eta=1.0)], OPEN),
    ("marginal", [late((0.95, 0.9, 1.0), epsilon=1e-4)], OPEN),
    ("idle", [weights((0.9, 0.85, 0.95), (0.7, 0.6, 0.8))], HOLDS),
    ("idle", [weights((0.9, 0.75, 0.95), (0.7, 0.6, 0.8))], PARTLY),
    ("idle", [weights((0.9, 0.85, 0.95), (0.6, 0.45, 0.8))], PARTLY),
    ("idle", [weights((0.6, 0.5, 0.7), (0.3, 0.2, 0.4))], FAILS),
    ("period_3", [series(period=(0.3, 0.2, 0.4))], PARTLY),
    ("period_3", [series(period=(0.1, 0.0, 0.3))], FAILS),
    ("expansion", [series(mode=0.2)], HOLDS),
    ("expansion", [series(mode=0.3)], HOLDS),
    ("expansion", [series(mode=0.19)], FAILS),
    ("expansion", [series(mode=0.31)], FAILS),
    ("soonest", [timed(1.0, (40, 35, 45), (0.9, 0.8, 1.0)), timed(0.1, (90, 80, 99), 0.0)], HOLDS),
    ("soonest", [timed(1.0, (90, 80, 99), (0.9, 0.8, 1.0)), timed(0.1, (40, 35, 45), 0.0)], FAILS),
    ("soonest", [timed(1.0, (40, 35, 45), (0.9, 0.8, 1.0)), timed(0.1, (48, 44, 52), 0.0)], PARTLY),
    ("soonest", [timed(1.0, (40, 35, 45), (0.2, 0.05, 0.4))], FAILS),
]  # fmt: skip


@pytest.mark.parametrize(("ident", "measured", "verdict"), CASES)
def test_verdict(ident: str, measured: list[Measured], verdict: str) -> None:
    assert ruled(ident, *measured).verdict == verdict


def test_every_claim_is_ruled_both_ways() -> None:
    """No claim stands in the study of which this table tests one outcome only."""
    outcomes: dict[str, set[str]] = {c.ident: set() for c in claims(empty())}
    for ident, _, verdict in CASES:
        outcomes[ident].add(verdict)
    assert {ident for ident, seen in outcomes.items() if len(seen) < 2} == set()


def empty() -> Found:
    found = object.__new__(Found)
    found.measured, found.plan, found.study = [], SimpleNamespace(), SimpleNamespace()
    return found


def test_notes_say_what_the_numbers_show() -> None:
    assert "draw together" in ruled("marginal", late((0.95, 0.9, 0.99))).note
    assert "draw together" not in ruled("marginal", late((0.95, 0.9, 1.01))).note
    assert "and a net here" in ruled("period_3", series()).note
    assert "and no net here" in ruled("period_3", series(lags=(-0.28, -0.32, 0.28))).note
    inside = chosen((0.28, 0.2, 0.35), (0.1, 0.05, 0.15), same=0.3)
    assert "straightest window" in ruled("maximum", inside).note
    assert not ruled("maximum", chosen((0.28, 0.27, 0.29), (0.1, 0.05, 0.15), same=0.3)).note
    shown = ruled("linear", m("orbit", 0.01, 1e-8, early_end=0.5), m("orbit", 0.01, 1e-4,
                  early_end=0.6))  # fmt: skip
    assert "20" in shown.note


def test_measured_numbers_stand_in_the_text() -> None:
    shown = ruled("nmle_1e-08", fit(0.291, 0.87, 1e-8))
    assert shown.measured.startswith("0.291 [0.281 to 0.301] (n = 9)")
    assert "0.285" in shown.published
    assert "89.8" in shown.published
    ends = ruled("falls", fit(0.075, 1, 1e-2), fit(0.335, 1, 1e-14)).measured
    assert ends.index("0.335") < ends.index("0.075")
