"""Intervals of quantities with limits: never outside, Student's where narrow, and they cover."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import t as student

from wingbeat.errors import NO_VARIATION, RequestError
from wingbeat.stats import Estimate, largest_p
from wingbeat.studies.seedwise import seed_claim, seeds_to_decide
from wingbeat.study.finished import over_seeds
from wingbeat.study.ranges import AT_LEAST_0, CORRELATION, SHARE, kept

RANGES = {"share": SHARE, "correlation": CORRELATION, "barrier": AT_LEAST_0, "other": (2.0, 5.0)}


def halves(values: np.ndarray) -> tuple[float, float]:
    """Return mean and half of Student's interval by the textbook."""
    n = len(values)
    half = student.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n)
    return float(values.mean()), float(half)


def by_hand(values: np.ndarray, name: str) -> tuple[float, float]:
    """Return the ends by the formulas of scipy and numpy for each range."""
    mean, half = halves(values)
    if name == "barrier":
        return mean * math.exp(-half / mean), mean * math.exp(half / mean)
    if name == "correlation":
        z, k = np.arctanh(mean), half / (1 - mean**2)
        return float(np.tanh(z - k)), float(np.tanh(z + k))
    low, high = RANGES[name]
    p, h = (mean - low) / (high - low), half / (high - low)
    k = h / (p * (1 - p))
    return tuple(low + (high - low) * float(expit(logit(p) + way * k)) for way in (-1, 1))


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("count", [3, 5, 9])
def test_ends_are_those_of_the_formula_and_lie_inside(name: str, count: int) -> None:
    low, high = RANGES[name]
    span = high - low if math.isfinite(high) else 1.0
    rng = np.random.default_rng(count)
    for scatter in (0.02, 0.3, 3.0):  # from narrow to pressed against both limits
        for middle in (-3.0, 0.0, 3.0):
            draws = expit(middle + scatter * rng.normal(size=count))
            values = low + span * draws
            found = over_seeds(values, within=RANGES[name])
            assert found.value == pytest.approx(values.mean())
            assert low <= found.low <= found.value <= found.high <= high
            # 2,000 draws of the bootstrap know Student's half within a few per cent.
            mean, half = halves(values)
            rough = Estimate(mean, mean - half, mean + half)
            exact = kept(rough, RANGES[name])
            assert (exact.low, exact.high) == pytest.approx(by_hand(values, name), rel=1e-9)


def test_narrow_intervals_are_students_and_mirrored_ones_mirror() -> None:
    values = np.array([0.501, 0.499, 0.5, 0.502])
    plain, inside = over_seeds(values), over_seeds(values, within=SHARE)
    assert (inside.low, inside.high) == pytest.approx((plain.low, plain.high), rel=1e-5)
    skewed = np.array([0.9, 0.97, 0.99])
    up, down = (over_seeds(way * skewed, within=CORRELATION) for way in (1, -1))
    assert (up.low, up.high) == pytest.approx((-down.high, -down.low), rel=1e-9)


def test_what_student_made_of_a_share_of_three() -> None:
    """The published share of a transformer: 0.795 [0.459, 1.13]."""
    found = kept(Estimate(0.795, 0.459, 1.131), SHARE)
    assert (found.low, found.high) == pytest.approx((0.330, 0.968), abs=5e-4)


def test_no_variation_and_limits_themselves() -> None:
    assert over_seeds(np.ones(4), within=SHARE).interval_reason == NO_VARIATION
    assert over_seeds(np.full(4, 1 + 1e-15), within=SHARE).value == 1.0
    assert math.isnan(over_seeds(np.array([0.5, math.nan]), within=SHARE).value)
    with pytest.raises(RequestError, match=r"1\.2 of a quantity .* from 0 to 1"):
        over_seeds(np.array([0.5, 1.2]), within=SHARE)


def test_a_bound_on_a_limit_is_refused() -> None:
    """A barrier is at least 0: that it lies above 0 every interval would say."""
    with pytest.raises(RequestError, match="bound 0 of a quantity from 0 to inf"):
        seed_claim("b", "B.", [0.1, 0.2, 0.3], 0.0, above=True, within=AT_LEAST_0)


def test_claims_and_forecasts_are_on_the_same_scale() -> None:
    values = [0.6424, 0.7591, 0.9845]  # 0.795 [0.33, 0.97]
    claim = seed_claim("a", "A.", values, 0.5, above=True, within=SHARE)
    assert claim.verdict == "undetermined"
    needed = seeds_to_decide(values, 0.5, within=SHARE)
    assert f"{needed} base seeds decide it" in claim.note
    logits = float(logit(np.mean(values))) / (np.std(values, ddof=1) / (0.7953 * 0.2047))
    assert needed == seeds_to_decide(logits + np.array([-1.0, 0.0, 1.0]), 0.0)


@pytest.mark.parametrize("count", [3, 5, 8])
def test_p_values_are_at_most_students_on_the_scale(count: int) -> None:
    """On the scale the interval is even: p follows from how many halves lie to the bound."""
    rng = np.random.default_rng(count)
    for _ in range(20):
        mean, half = halves(expit(2 + rng.normal(size=count)))
        found = kept(Estimate(mean, mean - half, mean + half), SHARE)
        away = abs(logit(mean) - logit(0.5)) * mean * (1 - mean) / half
        if away > 1:
            assert largest_p(found, 0.5) == pytest.approx(
                2 * student.sf(away * student.ppf(0.975, 2), 2), rel=1e-6
            )


@pytest.mark.parametrize(
    ("rho", "count"), [(0.2, 3), (0.5, 5), (0.8, 3), (0.9, 5), (0.95, 9), (0.98, 5)]
)
def test_intervals_of_rank_correlations_cover(rho: float, count: int) -> None:
    """Spearman's of 20 pairs a base seed; by the formula, whose ends the test above holds to."""
    rng = np.random.default_rng([count, int(100 * rho)])

    def drawn(size: int) -> np.ndarray:
        x, noise = rng.normal(size=(2, size, 20))
        y = rho * x + math.sqrt(1 - rho**2) * noise
        apart = x.argsort(axis=1).argsort(axis=1) - y.argsort(axis=1).argsort(axis=1)
        return 1 - 6 * (apart**2).sum(axis=1) / (20 * 399)

    truth, values = drawn(40_000).mean(), drawn(4000 * count).reshape(4000, count)
    half = student.ppf(0.975, count - 1) * values.std(axis=1, ddof=1) / math.sqrt(count)
    z, k = np.arctanh(values.mean(axis=1)), half / (1 - values.mean(axis=1) ** 2)
    share = ((np.tanh(z - k) <= truth) & (truth <= np.tanh(z + k))).mean()
    assert 0.92 < share < 0.97
