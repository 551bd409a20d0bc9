"""The mean rate of growth: Student's interval, longer where a copy's growth is skewed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from wingbeat.errors import RequestError
from wingbeat.metrics import gram, mean_rate
from wingbeat.stats import Estimate


def grown(n: int, gains: list[float], seed: int = 0):
    first = np.random.default_rng(seed).normal(size=(n, len(gains)))
    last = first * np.array(gains)
    rates = np.log(np.linalg.norm(last, axis=1) / np.linalg.norm(first, axis=1))
    return rates, gram(first), gram(last)


MANY, ONE = [1.0] * 300, [1.0] + [1e-9] * 299


def students(rates, level: float = 0.95):
    return stats.t.interval(level, len(rates) - 1, rates.mean(), stats.sem(rates))


@pytest.mark.parametrize("n", [3, 5, 30])
def test_where_every_direction_grows_alike_the_interval_is_students(n):
    rates = np.random.default_rng(1).normal(size=n)
    _, first, last = grown(n, MANY)
    found = mean_rate(rates, first, last)
    assert found.value == pytest.approx(rates.mean())
    assert [found.low, found.high] == pytest.approx(students(rates), rel=1e-4)


@pytest.mark.parametrize("level", [0.9, 0.99])
@pytest.mark.parametrize("n", [3, 5, 30])
def test_along_one_direction_the_lower_end_is_johnsons_for_the_logarithm_of_a_normal(n, level):
    rates, first, last = grown(n, ONE)
    found = mean_rate(rates, first, last, level=level)
    logs = np.log(np.abs(np.random.default_rng(2).normal(size=2_000_000)))
    normal = stats.norm.ppf(0.5 + level / 2)
    moved = 0.7 * stats.skew(logs) * (1 + 2 * normal**2) / (6 * np.sqrt(n))
    student = stats.t.ppf(0.5 + level / 2, n - 1)
    assert found.high == pytest.approx(students(rates, level)[1])
    reach = (rates.mean() - found.low) / stats.sem(rates)
    # Nudges of 300 numbers vary a little in length themselves, unlike the constant of theory.
    assert reach == pytest.approx(student - moved, rel=0.01)


def test_the_way_back_is_the_same_interval_turned_round():
    rates, first, last = grown(6, ONE)
    there, back = mean_rate(rates, first, last), mean_rate(-rates, last, first)
    assert [back.value, back.low, back.high] == pytest.approx(
        [-there.value, -there.high, -there.low]
    )


def test_units_do_not_matter():
    rates, first, last = grown(6, ONE)
    plain, scaled = mean_rate(rates, first, last), mean_rate(rates / 50, first * 9, last * 4)
    assert [scaled.low, scaled.high] == pytest.approx([plain.low / 50, plain.high / 50])


def test_what_has_no_interval_says_why():
    rates, first, last = grown(2, MANY)
    assert mean_rate(rates, first, last).interval_reason == "too_few_replicas"
    _, first, last = grown(4, MANY)
    assert mean_rate(np.full(4, 0.1), first, last) == Estimate(0.1, interval_reason="no_variation")
    assert mean_rate(np.array([1.0, np.nan, 0, 0]), first, last).reason == "constant"


def test_shapes_that_disagree_are_refused():
    _, first, last = grown(4, MANY)
    with pytest.raises(RequestError, match=r"\(3,\), \(4, 4\) and \(4, 4\)"):
        mean_rate(np.zeros(3), first, last)
    with pytest.raises(RequestError, match="level"):
        mean_rate(np.zeros(4), first, last, level=2.0)


def test_a_run_asks_it_for_one_base_seed_and_students_for_several():
    from wingbeat.measure.exponents import Saturation
    from wingbeat.measure.summary import PerturbationStatistics, summarise

    def fact(seed: int) -> PerturbationStatistics:
        first = 1e-6 * np.random.default_rng(seed).normal(size=(5, 40))
        points = [first * np.array([2.0**t, *[0.9**t] * 39]) for t in range(7)]
        return PerturbationStatistics(
            seed=seed,
            steps=np.arange(7) * 10,
            distances=np.stack([np.linalg.norm(p, axis=1) for p in points]),
            grams=np.stack([gram(p) for p in points]),
            projected=None,
            floor=0.0,
            saturation=Saturation(np.inf, "estimated"),
            disagreement=None,
            steps_per_epoch=5,
        )

    facts = [fact(seed) for seed in range(3)]
    rates = [np.log(f.distances[-1] / f.distances[0]) / 60 for f in facts]
    one = summarise(facts[:1])["lyapunov_two_point"]
    assert one == mean_rate(rates[0], facts[0].grams[0], facts[0].grams[-1])
    assert one.value - one.low > 1.1 * (one.high - one.value)
    slope = summarise(facts[:1])["lyapunov"]
    assert slope.value - slope.low > 1.1 * (slope.high - slope.value)
    several = summarise(facts)["lyapunov_two_point"]
    means = np.array([r.mean() for r in rates])
    assert [several.low, several.high] == pytest.approx(students(means), rel=0.05)
