"""How often intervals of means over base seeds cover, of quantities that have limits.

``python -m benchmarks.limits`` writes a table of docs/intervals.md: rank correlations, shares and
positive numbers of 3 to 9 base seeds, with Student's interval as it is and formed inside the range.
Student's cut at the limits covers as often as it does uncut: the truth is never cut off.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from wingbeat.determinism import derive
from wingbeat.stats import Estimate
from wingbeat.study.finished import over_seeds
from wingbeat.study.ranges import AT_LEAST_0, CORRELATION, SHARE, Range, kept

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Array]
SEEDS = (3, 4, 5, 6, 7, 8, 9)
TRUTH = 400_000
"""Draws by which a truth without a formula is known, within .001."""


@dataclass(frozen=True)
class Quantity:
    """Something of which each base seed gives one value.

    Attributes:
        name: in words.
        within: its range.
        draw: generator and number → values of so many base seeds.
    """

    name: str
    within: Range
    draw: Draw


@dataclass(frozen=True)
class Cell:
    """Shares of trials for one quantity and number of base seeds.

    Attributes:
        seeds: how many.
        student: covered by Student's interval.
        outside: Student's intervals that leave the range.
        covers: covered by the interval inside the range.
        below: such intervals that lie wholly below the truth.
        above: wholly above it.
        none: trials without an interval, since all base seeds gave the same; they count nowhere.
    """

    seeds: int
    student: float
    outside: float
    covers: float
    below: float
    above: float
    none: float


def rank_correlation(points: int, rho: float, varies: float = 0.0) -> Quantity:
    """Return Spearman's correlation of normal pairs.

    Args:
        points: pairs of each base seed.
        rho: Pearson's correlation of the pairs.
        varies: deviation of Fisher's z between base seeds.
    """

    def draw(rng: np.random.Generator, count: int) -> Array:
        own = np.tanh(np.arctanh(rho) + varies * rng.normal(size=(count, 1)))
        x, noise = rng.normal(size=(2, count, points))
        y = own * x + np.sqrt(1 - own**2) * noise
        apart = rankdata(x, axis=1) - rankdata(y, axis=1)
        return np.asarray(1 - 6 * (apart**2).sum(axis=1) / (points * (points**2 - 1)))

    more = f", z varies by {varies:g}" * bool(varies)
    return Quantity(f"rank correlation of {points} pairs, ρ = {rho:g}{more}", CORRELATION, draw)


def share(mean: float, count: float) -> Quantity:
    """Return a share that varies between base seeds as one of so many counted things (beta)."""
    return Quantity(
        f"share of {mean:g}, deviation {(mean * (1 - mean) / (count + 1)) ** 0.5:.2g}",
        SHARE,
        lambda rng, n: rng.beta(mean * count, (1 - mean) * count, size=n),
    )


def quantities() -> list[Quantity]:
    """Return the rows of the table."""
    found = [
        rank_correlation(points, rho)
        for points in (8, 20)
        for rho in (0.2, 0.5, 0.8, 0.9, 0.95, 0.98)
    ]
    found += [rank_correlation(20, rho, 0.5) for rho in (0.5, 0.9, 0.98)]
    found += [share(*one) for one in ((0.5, 5), (0.8, 20), (0.9, 20), (0.95, 20), (0.98, 100))]
    found += [
        Quantity(name, AT_LEAST_0, draw)
        for name, draw in (
            ("positive, half normal", lambda rng, n: np.abs(rng.normal(size=n))),
            ("positive, lognormal, σ = 0.6", lambda rng, n: np.exp(0.6 * rng.normal(size=n))),
            ("positive, exponential", lambda rng, n: rng.exponential(size=n)),
            ("positive, exponential, 3 in 10 are 0",
             lambda rng, n: rng.exponential(size=n) * (rng.random(n) > 0.3)),
            ("positive, lognormal, σ = 1", lambda rng, n: np.exp(rng.normal(size=n))),
        )
    ]  # fmt: skip
    return found


def measured(quantity: Quantity, seeds: int, trials: int, truth: float) -> Cell:
    """Return how often the intervals of so many base seeds cover."""
    rng = np.random.Generator(np.random.PCG64(derive(1, "limits", quantity.name, seeds)))
    values = quantity.draw(rng, trials * seeds).reshape(trials, seeds)
    low, high = quantity.within
    counts, none = np.zeros(5), 0
    for own in values:
        plain = over_seeds(own)
        if not np.isfinite(plain.low):
            none += 1
            continue
        inside = kept(plain, quantity.within)
        counts += [
            *(_holds(found, truth) for found in (plain, inside)),
            plain.low < low or plain.high > high, inside.high < truth, inside.low > truth,
        ]  # fmt: skip
    student, covers, outside, below, above = counts / max(1, trials - none)
    return Cell(seeds, student, outside, covers, below, above, none / trials)


def _holds(found: Estimate, truth: float) -> bool:
    return found.low <= truth <= found.high


def truth_of(quantity: Quantity) -> float:
    """Return the mean of the quantity over base seeds."""
    rng = np.random.Generator(np.random.PCG64(derive(0, "limits", quantity.name)))
    return float(quantity.draw(rng, TRUTH).mean())


def table(trials: int, seeds: Sequence[int] = SEEDS) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    heads = ["quantity", *(f"{n} seeds" for n in seeds), "Student: covers", "leaves the range"]
    heads += ["no interval"]
    yield "| " + " | ".join(heads) + " |"
    yield "|" + " --- |" * len(heads)
    for quantity in quantities():
        truth = truth_of(quantity)
        cells = [measured(quantity, n, trials, truth) for n in seeds]
        ends = (("student", ".3f"), ("outside", ".2f"), ("none", ".3f"))
        spans = (
            " to ".join(f"{end(getattr(c, name) for c in cells):{form}}" for end in (min, max))
            for name, form in ends
        )
        parts = [quantity.name, *(f"{c.covers:.3f}" for c in cells), *spans]
        yield "| " + " | ".join(parts) + " |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=4000)
    for line in table(parser.parse_args(arguments).trials):
        print(line, flush=True)


if __name__ == "__main__":
    main()
