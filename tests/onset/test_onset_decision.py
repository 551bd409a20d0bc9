"""The binomial decision against its definition, and the search against every outcome."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wingbeat.analyses.onset import bracket, cost, decide, fewest, limits, next_step
from wingbeat.errors import RequestError


def tail(n: int, first: int, last: int, p: float) -> float:
    """P(first ≤ K ≤ last), summed term by term."""
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(first, last + 1))


@pytest.mark.parametrize("n", [1, 4, 5, 8, 13])
@pytest.mark.parametrize(("share", "confidence"), [(0.5, 0.95), (0.2, 0.9), (0.7, 0.99)])
def test_a_verdict_is_the_exact_one_sided_test(n, share, confidence) -> None:
    for left in range(n + 1):
        verdict = decide(left, n, share=share, confidence=confidence)
        few = tail(n, 0, left, share) <= 1 - confidence
        many = tail(n, left, n, share) <= 1 - confidence
        assert verdict == ("stable" if few else "unstable" if many else "undecided")


def test_a_verdict_is_wrong_no_more_often_than_it_says() -> None:
    for n in (5, 8, 20):
        for p in (0.5, 0.6, 0.9):
            wrong = sum(tail(n, k, k, p) for k in range(n + 1) if decide(k, n) == "stable")
            assert wrong <= 0.05


def test_the_limits_are_those_of_the_tables() -> None:
    """Clopper and Pearson at 97.5 % a side: 10 of 100 gives .0490 to .1762; 0 of n closed form."""
    low, high = limits(10, 100, confidence=0.975)
    assert (round(low, 4), round(high, 4)) == (0.0490, 0.1762)
    assert limits(0, 5)[1] == pytest.approx(1 - 0.05 ** (1 / 5), rel=1e-12)
    assert limits(5, 5)[0] == pytest.approx(0.05 ** (1 / 5), rel=1e-12)
    assert limits(0, 0) == (0.0, 1.0)


@given(st.floats(0.05, 0.95), st.floats(0.5, 0.999))
def test_the_fewest_that_can_decide(share, confidence) -> None:
    n = fewest(share=share, confidence=confidence)

    def able(count: int) -> bool:
        both = (decide(k, count, share=share, confidence=confidence) for k in (0, count))
        return tuple(both) == ("stable", "unstable")

    assert able(n)
    assert n == 1 or not able(n - 1)


def test_bad_numbers_are_refused() -> None:
    for left, counted in ((-1, 3), (4, 3)):
        with pytest.raises(RequestError, match=f"{left} of {counted}"):
            limits(left, counted)
    with pytest.raises(RequestError, match="share"):
        decide(1, 3, share=1.0)


@given(st.integers(1, 70), st.data())
def test_bisection_finds_any_onset_within_its_cost(count, data) -> None:
    onset = data.draw(st.integers(0, count))
    steps = [3 * i for i in range(count)]
    verdicts = {}
    while (step := next_step(steps, verdicts)) is not None:
        assert step in steps
        assert step not in verdicts
        verdicts[step] = "stable" if step >= 3 * onset else "unstable"
    found = bracket(verdicts)
    assert found.between == found.against == ()
    assert found.high == (3 * onset if onset < count else None)
    if onset < count:
        assert found.low == (3 * (onset - 1) if onset else None)
        assert len(verdicts) <= math.ceil(math.log2(count + 1)) + 3
    length = 3 * count
    spent = 2 * length + sum(6 * (length - s) for s in verdicts)
    planned = cost(steps, length, 5)
    assert planned.least <= spent <= planned.most


@given(st.lists(st.sampled_from(["stable", "unstable", "undecided"]), min_size=1, max_size=30))
def test_any_outcome_ends_and_is_told_truly(outcomes) -> None:
    steps, verdicts = list(range(len(outcomes))), {}
    while (step := next_step(steps, verdicts)) is not None:
        assert step not in verdicts
        verdicts[step] = outcomes[step]
    found = bracket(verdicts)
    tried = sorted(verdicts)
    unstable = [s for s in tried if verdicts[s] == "unstable"]
    assert found.low == (max(unstable) if unstable else None)
    if found.high is None:
        assert outcomes[-1] != "stable"
    else:
        assert all(verdicts[s] == "stable" for s in tried if s >= found.high)
        assert all(verdicts[s] == "undecided" for s in found.between)
        # nothing between the ends is left that could narrow them
        edge = max([s for s in tried if s < found.high], default=-1)
        assert found.high - edge == 1
    assert all(verdicts[s] == "stable" and s < found.low for s in found.against)


def test_a_contradiction_is_seen() -> None:
    verdicts = {0: "unstable", 10: "stable", 20: "unstable", 30: "stable"}
    assert bracket(verdicts).against == (10,)
    assert (bracket(verdicts).low, bracket(verdicts).high) == (20, 30)
