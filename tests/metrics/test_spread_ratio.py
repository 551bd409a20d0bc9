"""The ratio of spreads and its interval: exact cases, invariances, and how often it is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats
from scipy.special import psi

from benchmarks import coverage
from wingbeat.metrics import convergence_ratio, gram, spread_ratio
from wingbeat.metrics.spread_ratio import log_ratio, students_limits
from wingbeat.stats import verdict


def pair(n=5, size=20, seed=0, gains=1.0):
    drawn = np.random.default_rng(seed).normal(size=(n, size))
    return gram(drawn), gram(drawn * gains)


def test_of_one_base_seed_the_value_is_the_plain_ratio():
    drawn = np.random.default_rng(1).normal(size=(6, 9))
    grown = drawn * np.linspace(0.5, 2, 9)
    found = spread_ratio([(gram(drawn), gram(grown))])
    assert found.value == pytest.approx(convergence_ratio(np.stack([drawn, grown])))
    assert found.low < found.value < found.high


@pytest.mark.parametrize("n", [3, 5, 30])
def test_an_isotropic_map_has_no_sampling_error(n):
    found = spread_ratio([pair(n, gains=2.5)])
    assert (found.value, found.low, found.high) == pytest.approx((2.5, 2.5, 2.5))


def test_units_and_origin_do_not_matter_and_the_inverse_is_the_inverse():
    first, last = pair(gains=np.linspace(0.3, 3, 20))
    plain, back = spread_ratio([(first, last)]), spread_ratio([(last, first)])
    scaled = spread_ratio([(first * 9.0, last * 4.0)])
    assert scaled.low == pytest.approx(plain.low * 2 / 3)
    assert [back.low, back.high] == pytest.approx([1 / plain.high, 1 / plain.low])


def test_squares_are_a_ratio_of_variances():
    pairs = [pair(gains=np.linspace(0.3, 3, 20), seed=s) for s in range(3)]
    plain, square = spread_ratio(pairs), spread_ratio(pairs, power=2.0)
    assert [square.value, square.low, square.high] == pytest.approx(
        [plain.value**2, plain.low**2, plain.high**2]
    )


@pytest.mark.parametrize("n", [3, 5, 12])
def test_one_growing_direction_has_the_bias_of_a_chi_square(n):
    drawn = np.random.default_rng(2).normal(size=(n, 1))
    found = log_ratio(None, gram(drawn))
    half = (n - 1) / 2
    assert found.value == pytest.approx(np.log(drawn.std(ddof=1)))
    assert found.bias == pytest.approx((psi(half) - np.log(half)) / 2)
    logs = np.log(np.random.default_rng(3).chisquare(n - 1, 200_000) / (n - 1)) / 2
    assert found.bias == pytest.approx(logs.mean(), abs=0.005)
    assert found.variance == pytest.approx(logs.var(), rel=0.02)
    assert found.skew / found.variance**1.5 == pytest.approx(scipy_stats.skew(logs), abs=0.05)


def test_the_error_is_the_jackknifes():
    drawn = np.random.default_rng(4).normal(size=(6, 7))
    grown = drawn * np.linspace(0.1, 2, 7)
    logs = []
    for i in range(6):
        a, b = (np.delete(x, i, axis=0) for x in (drawn, grown))
        logs.append(0.5 * np.log(b.var(axis=0).sum() / a.var(axis=0).sum()))
    expected = np.sqrt(5 / 6 * np.sum((np.array(logs) - np.mean(logs)) ** 2))
    assert log_ratio(gram(drawn), gram(grown)).error == pytest.approx(expected)


def test_of_several_base_seeds_the_value_is_freed_of_the_bias_of_few_replicas():
    gains = np.array([4.4] + [0.01] * 19)
    truth = np.sqrt((gains**2).mean())
    pairs = [pair(3, seed=s, gains=gains) for s in range(400)]
    naive = np.exp(np.mean(np.log([spread_ratio([one]).value for one in pairs])))
    found = spread_ratio(pairs)
    assert naive / truth < 0.8
    assert found.low < truth < found.high
    assert found.value == pytest.approx(truth, rel=0.1)


def test_two_replicas_have_a_value_and_no_interval():
    found = spread_ratio([pair(2)])
    assert found.value == pytest.approx(1.0)
    assert (found.interval_reason, verdict(found)) == ("too_few_replicas", "undetermined")


def test_copies_that_collapsed_to_one_point_are_not_judged():
    first, _ = pair()
    found = spread_ratio([(first, np.zeros_like(first))])
    assert (found.value, found.interval_reason) == (0.0, "constant")
    assert verdict(found) == "undetermined"


@pytest.mark.parametrize(("skewness", "side"), [(-0.8, 1), (0.8, -1)])
def test_limits_lean_to_the_long_side_of_students(skewness, side):
    low, high = students_limits(5, 0.95, skewness)
    plain = scipy_stats.t.ppf(0.975, 4)
    assert side * (high + low) > 0
    assert students_limits(5, 0.95, 0.0) == pytest.approx((-plain, plain))


# False verdicts where the truth is 1. Nominal 2.5 % on each side; 300 trials: error 0.9 points.


@pytest.mark.parametrize(("replicas", "seeds"), [(5, 1), (5, 5)])
def test_neutral_systems_are_seldom_judged(replicas, seeds):
    for system in coverage.systems()[:3]:
        for cell in coverage.cells(system, replicas, seeds, 300, compare=False):
            most = {"ratio": 0.045, "verdict": 0.03}.get(cell.quantity, 1.0)
            assert max(cell.below, cell.above) <= most, cell


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 3, 10])
@pytest.mark.parametrize("replicas", [3, 5, 10])
def test_intervals_cover(replicas, seeds):
    for system in coverage.systems():
        trials = 150 if system.name == "small net" else 500
        for cell in coverage.cells(system, replicas, seeds, trials, compare=False):
            if cell.quantity == "verdict":
                # at most 3 % on either side, and three standard errors of the share
                most = 0.03 + 3 * (0.03 * 0.97 / trials) ** 0.5
                assert max(cell.below, cell.above) <= most, cell
            else:
                # three standard errors of a share beside .93, and few replicas may cover more
                assert cell.covers >= 0.93 - 3 * (0.065 / trials) ** 0.5, cell


def test_the_intervals_of_before_failed_where_base_seeds_shared_their_draws():
    system = coverage.systems()[1]
    (old, *_) = coverage.cells(system, 5, 5, 600)
    assert old.interval == "before"
    assert max(old.below, old.above) > 0.06, old
