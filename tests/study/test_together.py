"""Several claims at once: p values that intervals allow, and Holm's correction over a study."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats as scipy_stats

from wingbeat.report.pages.finding import _judged
from wingbeat.stats import Estimate, holm, largest_p
from wingbeat.study.verdicts import (
    FAILS,
    HOLDS,
    NOT_RUN,
    UNDETERMINED,
    Claim,
    all_of,
    doubt_of,
    judge,
    together,
)


def students(values):
    mean, n = float(values.mean()), len(values)
    half = float(scipy_stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / n**0.5)
    return Estimate(mean, mean - half, mean + half)


@pytest.mark.parametrize("n", [3, 4, 6, 20, 200])
def test_a_p_value_is_never_smaller_than_the_t_test_s(n):
    rng = np.random.default_rng(n)
    for _ in range(200):
        values = rng.normal(loc=rng.uniform(-2, 2), size=n)
        p, exact = largest_p(students(values), 0.0), scipy_stats.ttest_1samp(values, 0.0).pvalue
        assert p >= exact * (1 - 1e-9)
        assert (p <= 0.05) == (exact <= 0.05)
        if n == 3 and p <= 0.05:
            assert p == pytest.approx(exact)


def test_an_interval_that_is_even_on_the_logarithm_is_read_there():
    even = Estimate(2.0, 1.0, 4.0)
    assert largest_p(even, 1.0) == pytest.approx(0.05)
    assert largest_p(even, 4.0) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("found", "bound"),
    [(Estimate(1.0), 0.0), (Estimate(1.0, 1.0, 1.0), 0.0), (Estimate(1.0, 0.0, math.inf), 0.0)],
)
def test_no_interval_no_p_value(found, bound):
    assert math.isnan(largest_p(found, bound))


def claims_of(rng, count, seeds, shift=0.0):
    found = (students(rng.normal(loc=shift, size=seeds)) for _ in range(count))
    return [Claim("a", "A.", "", "", judge(e, 0.0, above=True)) for e in found]


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_claims_about_nothing_are_seldom_decided_together(seeds):
    rng = np.random.default_rng(seeds)
    studies = [claims_of(rng, 12, seeds) for _ in range(600)]
    alone = np.mean([any(c.verdict != UNDETERMINED for c in found) for found in studies])
    both = np.mean([together(found)[0] > 0 for found in studies])
    assert alone > 0.35  # 1 − .95 ^ 12 = .46: what the page must not pass over
    assert both <= 0.075  # .05, and three standard errors of 600 studies


def test_claims_that_are_sure_stay_decided():
    found = claims_of(np.random.default_rng(0), 12, 10, shift=30.0)
    assert together(found) == (12, 12)


def test_what_no_interval_judged_does_not_count():
    plain = [Claim("a", "A.", "", "", v) for v in (HOLDS, FAILS, NOT_RUN)]
    undefined = Claim("b", "B.", "", "", judge(Estimate.undefined("diverged"), 0.0, above=True))
    assert together([*plain, undefined]) == (0, 0)
    assert math.isnan(doubt_of(HOLDS))


def test_the_parts_of_a_claim():
    sure, near = (judge(Estimate(v, v - 1, v + 1), 0.0, above=True) for v in (30.0, 1.1))
    against = judge(Estimate(-30.0, -31.0, -29.0), 0.0, above=True)
    assert doubt_of(all_of(sure, near)) == doubt_of(near)  # both must be true
    assert doubt_of(all_of(sure, against)) == 2 * doubt_of(against)  # either would do
    assert math.isnan(doubt_of(all_of(sure, HOLDS)))


def test_a_verdict_with_its_doubt_is_still_its_word():
    verdict = judge(Estimate(30.0, 29.0, 31.0), 0.0, above=True)
    assert verdict == HOLDS
    assert json.dumps(asdict(Claim("a", "A.", "", "", verdict))["verdict"]) == '"holds"'
    assert doubt_of(copy.deepcopy(verdict)) == doubt_of(verdict)


def test_the_page_says_how_many_stay_decided():
    rng = np.random.default_rng(1)
    found = (*claims_of(rng, 11, 5), *claims_of(rng, 1, 5, shift=50.0))
    facts = {name: (value, below) for name, value, below in _judged(found)}
    assert facts["claims decided together"] == ("1", "of 12 judged by an interval; at 5 %, Holm")
    # One claim needs no correction, and none is made where no interval judged.
    assert "claims decided together" not in dict(f[:2] for f in _judged(found[:1]))
    plain = tuple(Claim("a", "A.", "", "", HOLDS) for _ in range(3))
    assert "claims decided together" not in dict(f[:2] for f in _judged(plain))


def test_holm_against_statsmodels_by_hand():
    p = np.array([0.001, math.nan, 0.04, 0.03, 0.9])
    assert holm(p)[[0, 2, 3, 4]] == pytest.approx([0.004, 0.09, 0.09, 0.9])
    assert math.isnan(holm(p)[1])
