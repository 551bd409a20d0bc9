"""Laws of growth: fits against SciPy's and NumPy's, scores by hand, recognition, false choices."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import curve_fit
from scipy.special import gammaln

from wingbeat.errors import TOO_FEW_POINTS, RequestError
from wingbeat.metrics.growth_law import BLOCKS, LAWS, Law, fit_law, growth_law

TIMES = np.arange(0.0, 2800.0, 28.0)
TRUE = {
    "none": lambda t: 2.0 + 0 * t,
    "exponential": lambda t: 0.02 * np.exp(0.0013 * t),
    "power": lambda t: 0.02 * (1 + t / 60) ** 1.4,
    "saturating": lambda t: 5 / (1 + 200 * np.exp(-0.004 * t)),
}


def noise(rng: np.random.Generator, size: float, memory: float) -> np.ndarray:
    """Errors of a logarithm that remember the one before, the first of them 0."""
    drawn, found = rng.normal(size=len(TIMES)), np.zeros(len(TIMES))
    for k in range(1, len(TIMES)):
        found[k] = memory * found[k - 1] + math.sqrt(1 - memory**2) * drawn[k]
    return size * found


def test_straight_laws_are_those_of_polynomials() -> None:
    logs = np.log(TRUE["exponential"](TIMES)) + noise(np.random.default_rng(0), 0.1, 0.5)
    slope, height = np.polyfit(TIMES, logs, 1)
    found = fit_law("exponential", TIMES, logs).parameters
    assert found["rate"] == pytest.approx(slope, rel=1e-9)
    assert found["start"] == pytest.approx(math.exp(height), rel=1e-9)
    assert fit_law("none", TIMES, logs).parameters["start"] == pytest.approx(math.exp(logs.mean()))


def test_bent_laws_are_those_of_scipy() -> None:
    rng = np.random.default_rng(1)
    logs = np.log(TRUE["power"](TIMES)) + noise(rng, 0.05, 0.5)
    (start, power, scale), _ = curve_fit(
        lambda t, a, b, c: np.log(a) + b * np.log(1 + t / c), TIMES, logs, p0=(0.03, 1.0, 100.0)
    )
    found = fit_law("power", TIMES, logs).parameters
    assert [found[k] for k in ("start", "power", "scale")] == pytest.approx(
        [start, power, scale], rel=1e-4
    )
    logs = np.log(TRUE["saturating"](TIMES)) + noise(rng, 0.05, 0.5)
    (end, rate, fold), _ = curve_fit(
        lambda t, a, b, c: np.log(a) - np.log(1 + c * np.exp(-b * t)),
        TIMES, logs, p0=(4.0, 0.005, 100.0),
    )  # fmt: skip
    found = fit_law("saturating", TIMES, logs).parameters
    expected = [end, rate, end / (1 + fold)]
    assert [found[k] for k in ("end", "rate", "start")] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("law", LAWS)
def test_each_law_is_recognised_and_its_curve_found(law: Law) -> None:
    distances = TRUE[law](TIMES) * np.exp(noise(np.random.default_rng(2), 0.03, 0.3))
    found = growth_law(TIMES, distances)
    assert found.best == law
    assert found.points == 29
    np.testing.assert_allclose(found.fits[law](TIMES), TRUE[law](TIMES), rtol=0.1)


def test_scores_are_those_of_blocks_of_time_left_out() -> None:
    """By hand: a line through the other blocks, and Student's density with four degrees."""
    times = TIMES[:16]
    logs = np.log(TRUE["exponential"](times)) + noise(np.random.default_rng(3), 0.1, 0.3)[:16]
    total = []
    for block in range(BLOCKS):
        out = slice(2 * block, 2 * block + 2)
        seen, unseen = np.delete(times, out), times[out]
        line = np.polyfit(seen, np.delete(logs, out), 1)
        left = np.delete(logs, out) - np.polyval(line, seen)
        scale = math.sqrt(left @ left / 12)
        z = (logs[out] - np.polyval(line, unseen)) / scale
        density = gammaln(2.5) - gammaln(2.0) - 0.5 * math.log(4 * math.pi) - math.log(scale)
        total.append((density - 2.5 * np.log1p(z**2 / 4)).mean())
    found = growth_law(times, np.exp(logs))
    np.testing.assert_allclose(found.blocks["exponential"], total, rtol=1e-9)
    assert found.scores["exponential"] == pytest.approx(np.mean(total))
    lead = found.scores["power"] - found.scores["exponential"]
    assert found.lead("power", "exponential") == pytest.approx(lead)


def test_units_change_no_choice() -> None:
    distances = TRUE["saturating"](TIMES) * np.exp(noise(np.random.default_rng(4), 0.05, 0.5))
    one, other = growth_law(TIMES, distances), growth_law(TIMES / 60, 1e3 * distances)
    assert one.best == other.best == "saturating"
    for law in LAWS:
        assert other.scores[law] == pytest.approx(one.scores[law], abs=1e-3)


def test_what_cannot_be_told_says_why() -> None:
    few = growth_law(TIMES[:15], TRUE["power"](TIMES[:15]))
    assert (few.best, few.reason, few.points) == (None, TOO_FEW_POINTS, 15)
    assert math.isnan(few.lead("power", "none"))
    lost = np.where(TIMES < 2500, 0.0, 1.0)
    assert growth_law(TIMES, lost).reason == TOO_FEW_POINTS
    for bad in (([0, 1], [1.0]), ([1.0, 1.0], [1.0, 2.0]), ([-1.0, 1.0], [1.0, 2.0])):
        with pytest.raises(RequestError):
            growth_law(*bad)
    with pytest.raises(RequestError, match="exponential"):
        fit_law("exponentiel", TIMES, TIMES)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="more than 3"):
        fit_law("power", TIMES[:3], TIMES[:3])


@pytest.mark.slow
@pytest.mark.parametrize(("memory", "size"), [(0.0, 0.05), (0.9, 0.05), (0.97, 0.2)])
def test_false_choices_are_few(memory: float, size: float) -> None:
    """Of 40 curves with other parameters each, under errors with and without a memory.

    Curves that stand still are left out: errors with a memory drift, and a drift is told from them.
    """
    rng = np.random.default_rng(5)
    for law in LAWS[1:]:
        chosen = []
        for _ in range(40):
            a, b = rng.uniform(size=2)
            distances = {
                "exponential": 0.02 * np.exp(TIMES * (1 + 5 * a) / 2800),
                "power": 0.02 * (1 + TIMES / (10 + 290 * a)) ** (0.5 + 1.5 * b),
                "saturating": 5 / (1 + (20 + 280 * a) * np.exp(-TIMES * (5 + 35 * b) / 2800)),
            }[law]
            chosen.append(growth_law(TIMES, distances * np.exp(noise(rng, size, memory))).best)
        # Errors that wander as a walk does hide a law, most of all slow exponentials.
        fewest = 30 if memory == 0.97 else 34
        assert chosen.count(law) >= fewest, (law, chosen)
        if law != "exponential":
            assert chosen.count("exponential") <= 2
