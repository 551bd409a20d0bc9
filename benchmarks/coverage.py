"""How often intervals hold the truth, and how often a verdict is false where none is due.

Systems whose true ratio of spreads is known are drawn again and again with few replicas of few
base seeds. For each, the share of intervals that hold the truth, and the shares of verdicts that
are false: the interval that the word asks for lies wholly below the truth ("convergent") or above
it ("divergent"). Up to 0.1.0 the word asked for the 95 % that the number has. "Before"
is what 0.1.0 did until these intervals came: replicas resampled within base seeds, and every base
seed given the same draws. Everything is seeded; nothing depends on a clock.

    python -m benchmarks.coverage [--trials 1000] [--system "small net"] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from wingbeat.determinism import derive
from wingbeat.metrics import gram, spread_from_gram, spread_ratio
from wingbeat.stats import VERDICT_LEVEL, Estimate, bootstrap

Array = np.ndarray[Any, np.dtype[np.float64]]
REPLICAS, SEEDS = (3, 5, 10, 30), (1, 3, 5, 10)
SIZE = 20
"""Parameters of the linear maps; the small net has 24."""
DRAWS = 300
"""Resamples of the intervals of before: enough for a standard deviation within 4 %."""
BETWEEN = 0.3
"""Deviation of ln ratio between base seeds."""


@dataclass(frozen=True)
class System:
    """Something that turns first weights into last ones.

    Attributes:
        name: of the system.
        starts: ``(seeds, rng)`` → what tells base seeds apart.
        grow: ``(nudges (N, P), base seed's own)`` → distances from the reference at the end.
        truth: ln of the geometric mean over base seeds of the true ratio.
        rate: mean over replicas and base seeds of ln(last distance ÷ first distance).
        size: number of parameters.
    """

    name: str
    starts: Callable[[int, np.random.Generator], Sequence[Any]]
    grow: Callable[[Array, Any, np.random.Generator], Array]
    truth: float
    rate: float
    size: int = SIZE


@dataclass(frozen=True)
class Cell:
    """One row of the table; the shares are of trials."""

    system: str
    replicas: int
    seeds: int
    quantity: str
    interval: str
    trials: int
    covers: float
    below: float
    above: float


def systems() -> list[System]:
    """Return the systems of the table; all but the net have a true ratio of exactly 1."""
    rng = np.random.Generator(np.random.PCG64(derive(0, "coverage", "systems")))
    some = np.exp(0.7 * rng.normal(size=SIZE))
    one = np.full(SIZE, 0.05)
    one[0] = np.sqrt(SIZE - 0.05**2 * (SIZE - 1))
    maps = {"neutral map": some * np.sqrt(SIZE / (some**2).sum()), "one growing direction": one}
    found = [_linear(name, gains) for name, gains in maps.items()]
    return [*found, _isotropic(), small_net(), _uneven(one)]


def _linear(name: str, gains: Array) -> System:
    def grow(nudges: Array, own: float, _: np.random.Generator) -> Array:
        return nudges * gains * np.exp(own)

    return _with_rate(System(name, _levels, grow, 0.0, 0.0))


def _uneven(gains: Array) -> System:
    """Return a map under which copies also grow by a lognormal factor of their own, e^0.5."""

    def grow(nudges: Array, own: float, rng: np.random.Generator) -> Array:
        factors = np.exp(0.5 * rng.normal(size=(len(nudges), 1)) - 0.25)
        return np.asarray(nudges * gains * factors * np.exp(own))

    return _with_rate(System("uneven copies", _levels, grow, 0.0, 0.0))


def _isotropic() -> System:
    """Return a map that keeps every direction, with noise of its own on each replica."""

    def grow(nudges: Array, own: float, rng: np.random.Generator) -> Array:
        found = nudges + 0.3 * rng.normal(size=nudges.shape)
        return np.asarray(found / np.sqrt(1.09) * np.exp(own))

    return _with_rate(System("isotropic growth", _levels, grow, 0.0, 0.0))


def _levels(seeds: int, rng: np.random.Generator) -> Sequence[float]:
    """Return a level for each base seed; one base seed alone is asked about itself."""
    return list(BETWEEN * rng.normal(size=seeds)) if seeds > 1 else [0.0]


def _with_rate(system: System) -> System:
    rng = np.random.Generator(np.random.PCG64(derive(0, "coverage", "rate")))
    nudges = rng.normal(size=(200_000, system.size))
    rate = float(_rates(nudges, system.grow(nudges, 0.0, rng)).mean())
    return System(**{**vars(system), "rate": rate})


def small_net(hidden: int = 6, updates: int = 60) -> System:
    """Return gradient descent on a net of one hidden layer, nudged by 1 % at the start."""
    rng = np.random.Generator(np.random.PCG64(derive(0, "coverage", "net")))
    inputs = rng.normal(size=(16, 2))
    labels = np.sign(inputs[:, 0] * inputs[:, 1])
    size = 4 * hidden

    def train(weights: Array) -> Array:
        for _ in range(updates):
            weights = weights - 0.6 * _slope(weights, inputs, labels, hidden)
        return weights

    def grow(nudges: Array, own: Array, _: np.random.Generator) -> Array:
        moved = train(np.concatenate([own[None], own + 0.01 * nudges]))
        return (moved[1:] - moved[:1]) / 0.01

    def starts(seeds: int, rng: np.random.Generator) -> Sequence[Array]:
        return first if seeds == 1 else list(0.8 * rng.normal(size=(seeds, size)))

    first = [0.8 * rng.normal(size=size)]
    return System("small net", starts, grow, np.nan, np.nan, size)


def _slope(weights: Array, inputs: Array, labels: Array, hidden: int) -> Array:
    """Return the gradient of the mean squared error ÷ 2 for each row of weights."""
    first = weights[:, : 2 * hidden].reshape(-1, 2, hidden)
    bias, last = weights[:, 2 * hidden : 3 * hidden], weights[:, 3 * hidden :]
    active = np.tanh(inputs @ first + bias[:, None])
    error = (np.einsum("rnh,rh->rn", active, last) - labels) / len(labels)
    back = (1.0 - active**2) * error[:, :, None] * last[:, None]
    parts = [
        np.einsum("ni,rnh->rih", inputs, back).reshape(len(weights), -1),
        back.sum(axis=1),
        np.einsum("rnh,rn->rh", active, error),
    ]
    return np.concatenate(parts, axis=1)


def truths(system: System, seeds: int) -> tuple[float, float]:
    """Return the true ln ratio and rate; for the net from many replicas of many base seeds."""
    if np.isfinite(system.truth):
        return system.truth, system.rate
    return _sampled(system, several=seeds > 1)


@cache
def _sampled(system: System, *, several: bool) -> tuple[float, float]:
    rng = np.random.Generator(np.random.PCG64(derive(0, "coverage", "truth", int(several))))
    many = 200 if several else 20_000
    found = []
    for own in system.starts(400 if several else 1, rng):
        nudges = rng.normal(size=(many, system.size))
        grown = system.grow(nudges, own, rng)
        ratio = 0.5 * np.log(grown.var(axis=0).sum() / nudges.var(axis=0).sum())
        found.append((ratio, _rates(nudges, grown).mean()))
    ratio, rate = np.mean(found, axis=0)
    return float(ratio), float(rate)


def _rates(nudges: Array, grown: Array) -> Array:
    return np.asarray(np.log(np.linalg.norm(grown, axis=1) / np.linalg.norm(nudges, axis=1)))


def before(pairs: Sequence[tuple[Array, Array]], rng: np.random.Generator) -> Estimate:
    """Return the interval of before: base seeds drawn first, then replicas within each."""
    seeds, n = len(pairs), pairs[0][0].shape[-1]
    picked = rng.multinomial(seeds, np.full(seeds, 1.0 / seeds), size=DRAWS)
    total, count = np.zeros(DRAWS), np.zeros(DRAWS)
    for column, pair in enumerate(pairs):
        drawn = picked[:, column]
        weights = rng.multinomial(drawn * n, np.full(n, 1.0 / n)).astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.diff(np.log(spread_from_gram(np.stack(pair), weights)), axis=1)[:, 0]
        total += np.where(drawn > 0, drawn * logs, 0.0)
        count += drawn
    values = [np.diff(np.log(spread_from_gram(np.stack(pair))))[0] for pair in pairs]
    found = (total / count)[np.isfinite(total)]
    units = seeds if seeds > 1 else n
    half = stdtrit(units - 1, 0.975) * found.std() * (units / (units - 1)) ** 0.5
    centre = float(np.mean(values))
    return Estimate(*np.exp([centre, centre - half, centre + half]).tolist())


def trial(
    system: System, replicas: int, seeds: int, rng: np.random.Generator, *, shared: bool
) -> tuple[list[tuple[Array, Array]], Array]:
    """Return Gram matrices and rates of one experiment; ``shared`` draws as it was before."""
    pairs, rates = [], []
    nudges = rng.normal(size=(replicas, system.size))
    for own in system.starts(seeds, rng):
        nudges = nudges if shared else rng.normal(size=(replicas, system.size))
        grown = system.grow(nudges, own, rng)
        pairs.append((gram(nudges), gram(grown)))
        rates.append(_rates(nudges, grown))
    return pairs, np.concatenate(rates)


def rate_interval(rates: Array, seeds: int) -> Estimate:
    """Return the mean of rates with the interval that a run gives it."""
    groups = np.repeat(np.arange(seeds), len(rates) // seeds).tolist()
    return bootstrap(lambda w: w @ rates / w.sum(axis=1), len(rates), groups=groups, draws=500)


def cells(
    system: System, replicas: int, seeds: int, trials: int, *, compare: bool = True
) -> Iterator[Cell]:
    """Yield the rows of one system at one number of replicas and base seeds."""
    ratio, rate = truths(system, seeds)
    rng = np.random.Generator(np.random.PCG64(derive(1, "coverage", system.name, replicas, seeds)))
    kinds: list[tuple[str, str, bool, int]] = [
        ("ratio", "now", False, trials),
        ("verdict", "now", False, trials),
        ("exponent", "now", False, trials),
    ]
    if compare:
        kinds.insert(0, ("ratio", "before", True, max(1, trials // 4)))
    for quantity, interval, shared, count in kinds:
        sides = np.zeros(2)
        for _ in range(count):
            pairs, rates = trial(system, replicas, seeds, rng, shared=shared)
            if quantity == "exponent":
                found, truth = rate_interval(rates, seeds), rate
            else:
                level = VERDICT_LEVEL if quantity == "verdict" else 0.95
                now = interval == "now"
                found = spread_ratio(pairs, level=level) if now else before(pairs, rng)
                truth = float(np.exp(ratio))
            sides += [found.high < truth, found.low > truth]
        below, above = (float(s) / count for s in sides)
        covers = 1.0 - below - above
        yield Cell(system.name, replicas, seeds, quantity, interval, count, covers, below, above)


def table(
    trials: int, chosen: str | None = None, say: Callable[[str], object] = print
) -> list[Cell]:
    """Measure every cell and say it as a row of a Markdown table."""
    head = ["system", "replicas", "base seeds"]
    head += ["ratio before: covers", "false convergent", "false divergent"]
    head += ["ratio now: covers", "below", "above", "verdict now: false convergent"]
    head += ["false divergent", "exponent now: covers"]
    say("| " + " | ".join(head) + " |")
    say("|" + " --- |" * len(head))
    out = []
    for system in (s for s in systems() if chosen in (None, s.name)):
        for seeds in SEEDS:
            for replicas in REPLICAS:
                # The net costs 30 times as much as a map, and ten base seeds ten times one.
                part = (2 if system.name == "small net" else 1) * (2 if seeds == 10 else 1)
                own = list(cells(system, replicas, seeds, max(1, trials // part)))
                shares = [s for c in own[:2] for s in (c.covers, c.below, c.above)]
                shares += [own[2].below, own[2].above, own[3].covers]
                shown = [f"{s:.3f}" for s in shares]
                say("| " + " | ".join([system.name, str(replicas), str(seeds), *shown]) + " |")
                out += own
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and write it as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--system", choices=[s.name for s in systems()])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    found = table(given.trials, given.system)
    if given.json:
        given.json.write_text(json.dumps([asdict(c) for c in found], indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
