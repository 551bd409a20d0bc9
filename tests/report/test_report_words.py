from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_cases import FakeResult, full, scalar, table

from wingbeat.report.pages.definitions import bibtex, run_key
from wingbeat.report.prose import number, percent
from wingbeat.report.verdict_text import alarms, headline, limits, meaning, verdict


def judged(behavior: str, ratio: dict[str, object], **changes: object) -> FakeResult:
    result = FakeResult(table([]), behavior=behavior, summary={"convergence_ratio": ratio})
    return result.but(**changes)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.99999, "1"),
        (99999.0, "1 × 10⁵"),
        (1234.0, "1,230"),
        (-0.0123, "−0.0123"),
        (3.2e-5, "3.2 × 10⁻⁵"),
        (math.inf, "∞"),
        (math.nan, "undefined"),
        (0.0, "0"),
        (5e-324, "4.94 × 10⁻³²⁴"),
    ],
)
def test_numbers_in_words(value: float, text: str) -> None:
    assert number(value) == text


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_numbers_read_back_within_three_digits(value: float) -> None:
    plain = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "-0123456789-")
    text = number(value).replace(",", "").replace(" × 10", "e").translate(plain)
    assert float(text) == pytest.approx(value, rel=5.1e-3)


def test_a_percentage() -> None:
    assert percent(0.5) == "50 %"


def test_headlines() -> None:
    assert headline(judged("convergent", scalar(0.5, 0.4, 0.6))).startswith("Convergent:")
    assert headline(judged("divergent", scalar(5, 4, 6))).startswith("Divergent:")
    holds_one = headline(judged("undetermined", scalar(0.9, 0.5, 1.5)))
    assert holds_one.startswith("Undetermined: the interval holds 1")
    none = headline(judged("undetermined", scalar(None, reason="too_few_replicas")))
    assert none == (
        "Undetermined: the convergence ratio is not defined, because there are too few replicas."
    )
    bare = scalar(0.5) | {"interval_reason": "too_few_replicas"}
    assert "no interval: there are too few replicas" in headline(judged("undetermined", bare))
    assert headline(judged("anything", scalar(5, 4, 6))).startswith("Undetermined:")


def test_the_headline_is_about_the_first_perturbation_asked_for() -> None:
    result = full(names=("b@100", "a@0"), replicas=2)
    changed = result.summary | {"b@100/behavior": scalar("undetermined")}
    assert verdict(result.but(summary=changed)) == "undetermined"


def test_identical_copies_are_never_called_convergent() -> None:
    result = judged("undetermined", scalar(None, reason="below_noise_floor"))
    assert "onvergent:" not in headline(result)
    assert headline(result).startswith("Undetermined")


def test_a_broken_twin_raises_the_alarm_even_without_a_warning() -> None:
    good = judged("divergent", scalar(5, 4, 6))
    assert alarms(good) == ()
    assert len(alarms(good.but(noise_floor=1e-6))) == 1
    assert "1 × 10⁻⁶" in alarms(good.but(noise_floor=1e-6))[0]
    assert len(alarms(good.but(noise_floor=math.nan))) == 1
    assert alarms(good.but(noise_floor=1e-6, warnings=("mine",))) == ("mine",)
    assert headline(good.but(noise_floor=1e-6)).endswith("Read the warning first.")


def test_meaning_and_limits_follow_what_is_known() -> None:
    known = " ".join(meaning(full()))
    assert "61.6 times" in known
    assert "95 % interval 48.2 to 77.9" in known
    assert "double it every 222 steps" in known
    nothing = judged("undetermined", scalar(None, reason="diverged"))
    assert len(meaning(nothing)) == 1
    assert "There is no interval" in " ".join(limits(nothing))
    shrinking = FakeResult(table([]), summary={"lyapunov": scalar(-0.01)})
    assert "halve it every 69.3 steps" in " ".join(meaning(shrinking))


def test_bibtex_cannot_be_broken_out_of() -> None:
    text = bibtex(full().but(environment={"wingbeat": '1.0}, url={x"\\<'}))
    assert text.count("{") == text.count("}")
    assert "1.0 urlx" in text.replace(",", "")


def test_the_key_of_a_run_is_that_of_its_condition() -> None:
    assert run_key({"a": 1}) != run_key({"a": 2})
    assert len(run_key({})) == 12
