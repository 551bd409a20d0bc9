"""The ratio of spreads and its interval: exact cases, invariances, and how often it is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats
from scipy.special import psi

from benchmarks import coverage
from wingbeat.analyses.noise_sources.outcome import variance as variance_of_runs
from wingbeat.metrics import convergence_ratio, gram, spread_interval, spread_ratio
from wingbeat.metrics.skewed import students_limits
from wingbeat.metrics.spread_ratio import log_ratio
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


def test_units_and_origin_do_not_matter_and_the_inverse_of_three_is_the_inverse():
    first, last = pair(3, gains=np.linspace(0.3, 3, 20))
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


def test_three_replicas_vary_no_more_than_along_one_direction():
    # Exactly one direction, and a jackknife that finds much more: the χ² of 1.95 bounds it.
    values = np.array([0.0, 0.001, 1.0])
    found = (
        spread_interval(np.outer(values, values)),
        spread_ratio([(np.eye(3), np.outer(values, values))]),
    )
    freedom = 1.95
    tails = scipy_stats.chi2.ppf([0.975, 0.025], freedom)
    bound = 0.5 * np.log(tails[0] / tails[1])
    assert np.log(found[1].high / found[1].low) == pytest.approx(bound, abs=0.01)


@pytest.mark.parametrize("n", [4, 5, 12])
def test_the_upper_end_reaches_further_where_a_few_replicas_carry_the_spread(n):
    drawn = np.random.default_rng(n).normal(size=(n, 200))
    factors = np.ones(n)
    factors[0] = 3.0
    even, uneven = (
        spread_ratio([(gram(drawn), gram(drawn * f[:, None]))])
        for f in (np.linspace(0.9, 1.1, n), factors)
    )
    for found, more in ((even, False), (uneven, True)):
        up, down = np.log(found.high / found.value), np.log(found.value / found.low)
        assert (up > 1.3 * down) == more


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
@pytest.mark.parametrize("system", coverage.systems(), ids=lambda s: s.name)
@pytest.mark.parametrize("seeds", [1, 3, 5, 10])
def test_intervals_cover(system, seeds):
    for replicas in (3, 5, 10, 30):
        trials = 200 if system.name == "small net" and replicas == 30 else 600
        for cell in coverage.cells(system, replicas, seeds, trials, compare=False):
            if cell.quantity == "verdict":
                # at most 3 % on either side, and three standard errors of the share
                most = 0.03 + 3 * (0.03 * 0.97 / trials) ** 0.5
                assert max(cell.below, cell.above) <= most, cell
                continue
            assert abs(cell.covers - 0.95) <= 0.02 + 3 * cell.error, cell


@pytest.mark.parametrize("n", [3, 5, 7])
def test_a_variance_of_few_gaussian_runs_is_bounded_by_chi_square(n):
    # Independent runs of one number: the exact interval is that of N - 1 degrees of freedom.
    # Ours is as long unless the jackknife finds a heavier tail, which it does by chance.
    values = scipy_stats.norm.ppf((np.arange(n) + 0.5) / n)
    apart = values - values.mean()
    found = spread_interval(np.outer(apart, apart), power=2.0)
    exact = apart @ apart / scipy_stats.chi2.ppf([0.975, 0.025], n - 1)
    assert found.value == pytest.approx(values.var(ddof=1))
    assert [found.low, found.high] == pytest.approx(exact)


@pytest.mark.parametrize(
    ("draw", "variance", "least"),
    [
        (lambda rng, size: rng.normal(size=size), 1.0, 0.94),
        (lambda rng, size: np.exp(0.3 * rng.normal(size=size)), 0.09417 * 1.09417, 0.915),
        (lambda rng, size: rng.binomial(360, 0.97, size=size) / 360, 0.97 * 0.03 / 360, 0.94),
    ],
    ids=["gaussian", "skewed losses", "accuracies"],
)
@pytest.mark.parametrize("n", [3, 5, 8])
def test_the_variance_of_few_runs_is_covered(draw, variance, least, n):
    rng, hit, lengths = np.random.default_rng(n), 0, []
    for values in draw(rng, (400, n)):
        found = variance_of_runs(values)
        hit += found.interval_reason == "no_variation" or found.low <= variance <= found.high
        lengths.append(found.high / found.low)
    assert hit / 400 >= least - 0.02  # two standard errors of 400 trials
    assert np.nanmedian(lengths) < {3: 500, 5: 40, 8: 30}[n]


def test_one_outlier_of_seven_does_not_make_the_variance_boundless():
    accuracies = np.array([0.887, 0.889, 0.879, 0.879, 0.882, 0.882, 0.844])
    found = variance_of_runs(accuracies, share=True)
    assert found.low < found.value < found.high < 0.03
    assert variance_of_runs(np.array([0.0, 1.0, 0.0]), share=True).high == 0.25


@pytest.mark.slow
def test_the_intervals_of_before_failed_where_base_seeds_shared_their_draws():
    system = coverage.systems()[1]
    (old, *_) = coverage.cells(system, 5, 5, 3000)
    assert old.interval == "before"
    assert max(old.below, old.above) > 0.06, old
