"""How often intervals hold the truth, and how often a verdict is false where none is due.

Systems whose true ratio of spreads is known are drawn again and again with few replicas of few
base seeds. For each, the share of intervals that hold the truth, and the shares of verdicts that
are false: the interval that the word asks for lies wholly below the truth ("convergent") or above
it ("divergent"). Up to 0.1.0 the word asked for the 95 % that the number has. "Before"
is what 0.1.0 did until these intervals came: replicas resampled within base seeds, and every base
seed given the same draws. "error" is the standard error with which the simulation knows the share
beside it. Everything is seeded; nothing depends on a clock.

    python -m benchmarks.coverage [--trials 4000] [--system "small net"] [--seeds 1 3]
                                   [--json FILE]
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
from wingbeat.metrics import mean_rate, spread_from_gram
from wingbeat.metrics.spread_ratio import log_ratio, ratio_of_logs
from wingbeat.stats import VERDICT_LEVEL, Estimate, bootstrap

Array = np.ndarray[Any, np.dtype[np.float64]]
REPLICAS, SEEDS = (3, 5, 10, 30), (1, 3, 5, 10)
SIZE = 20
"""Parameters of the linear maps; the small net has 24."""
DRAWS = 300
"""Resamples of the intervals of before: enough for a standard deviation within 4 %."""
AT_ONCE = 2000
"""Base seeds whose replicas are trained in one batch: a few megabytes."""
BETWEEN = 0.3
"""Deviation of ln ratio between base seeds."""


@dataclass(frozen=True)
class System:
    """Something that turns first weights into last ones.

    Attributes:
        name: of the system.
        starts: ``(seeds, rng)`` → what tells base seeds apart.
        grow: ``(nudges (B, N, P), B base seeds' own)`` → distances from the reference at the end.
        truth: ln of the geometric mean over base seeds of the true ratio.
        rate: mean over replicas and base seeds of ln(last distance ÷ first distance).
        size: number of parameters.
    """

    name: str
    starts: Callable[[int, np.random.Generator], Array]
    grow: Callable[[Array, Array, np.random.Generator], Array]
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

    @property
    def error(self) -> float:
        """Standard error of ``covers`` over the trials."""
        share = min(max(self.covers, 1.0 / self.trials), 1.0 - 1.0 / self.trials)
        return float((share * (1.0 - share) / self.trials) ** 0.5)


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
    def grow(nudges: Array, own: Array, _: np.random.Generator) -> Array:
        return nudges * gains * _each(own)

    return _with_rate(System(name, _levels, grow, 0.0, 0.0))


def _uneven(gains: Array) -> System:
    """Return a map under which copies also grow by a lognormal factor of their own, e^0.5."""

    def grow(nudges: Array, own: Array, rng: np.random.Generator) -> Array:
        factors = np.exp(0.5 * rng.normal(size=(*nudges.shape[:2], 1)) - 0.25)
        return np.asarray(nudges * gains * factors * _each(own))

    return _with_rate(System("uneven copies", _levels, grow, 0.0, 0.0))


def _isotropic() -> System:
    """Return a map that keeps every direction, with noise of its own on each replica."""

    def grow(nudges: Array, own: Array, rng: np.random.Generator) -> Array:
        found = nudges + 0.3 * rng.normal(size=nudges.shape)
        return np.asarray(found / np.sqrt(1.09) * _each(own))

    return _with_rate(System("isotropic growth", _levels, grow, 0.0, 0.0))


def _levels(seeds: int, rng: np.random.Generator) -> Array:
    """Return a level for each base seed; one base seed alone is asked about itself."""
    return BETWEEN * rng.normal(size=seeds) if seeds > 1 else np.zeros(1)


def _each(levels: Array) -> Array:
    return np.asarray(np.exp(levels)[:, None, None])


def _with_rate(system: System) -> System:
    rng = np.random.Generator(np.random.PCG64(derive(0, "coverage", "rate")))
    nudges = rng.normal(size=(1, 200_000, system.size))
    rate = float(_rates(nudges, system.grow(nudges, np.zeros(1), rng)).mean())
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
        begun = np.concatenate([own[:, None], own[:, None] + 0.01 * nudges], axis=1)
        moved = train(begun.reshape(-1, size)).reshape(begun.shape)
        return (moved[:, 1:] - moved[:, :1]) / 0.01

    def starts(seeds: int, rng: np.random.Generator) -> Array:
        return first if seeds == 1 else 0.8 * rng.normal(size=(seeds, size))

    first = 0.8 * rng.normal(size=(1, size))
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
    begun, many = (4000, 50) if several else (1, 20_000)
    found = []
    for own in system.starts(begun, rng):
        nudges = rng.normal(size=(1, many, system.size))
        grown = system.grow(nudges, own[None], rng)
        found.append((_limit(nudges[0], grown[0]), _rates(nudges, grown).mean()))
    ratio, rate = np.mean(found, axis=0)
    return float(ratio), float(rate)


def _limit(nudges: Array, grown: Array) -> float:
    """Return the ln ratio of many replicas, freed of the bias that 50 still have, .01 at most."""
    if len(nudges) > 1000:
        return float(0.5 * np.log(grown.var(axis=0).sum() / nudges.var(axis=0).sum()))
    found = log_ratio(*(x @ x.T for x in (nudges, grown)))
    return found.value - found.bias


def _rates(nudges: Array, grown: Array) -> Array:
    return np.asarray(np.log(np.linalg.norm(grown, axis=-1) / np.linalg.norm(nudges, axis=-1)))


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


def trials_of(
    system: System, replicas: int, seeds: int, count: int, rng: np.random.Generator, *, shared: bool
) -> Iterator[tuple[list[tuple[Array, Array]], Array]]:
    """Yield Gram matrices and rates of each experiment; ``shared`` draws as it was before."""
    together = max(1, AT_ONCE // seeds)
    for begun in range(0, count, together):
        several = min(together, count - begun)
        own = np.concatenate([system.starts(seeds, rng) for _ in range(several)])
        drawn = several if shared else several * seeds
        nudges = rng.normal(size=(drawn, replicas, system.size))
        nudges = np.repeat(nudges, len(own) // drawn, axis=0)
        grown = system.grow(nudges, own, rng)
        rates = _rates(nudges, grown).reshape(several, -1)
        first, last = (x @ x.swapaxes(1, 2) for x in (nudges, grown))
        for i in range(several):
            rows = range(i * seeds, (i + 1) * seeds)
            yield [(first[r], last[r]) for r in rows], rates[i]


def rate_interval(rates: Array, pairs: Sequence[tuple[Array, Array]]) -> Estimate:
    """Return the mean of rates with the interval that a run gives it."""
    seeds = len(pairs)
    if seeds == 1:
        return mean_rate(rates, *pairs[0])
    groups = np.repeat(np.arange(seeds), len(rates) // seeds).tolist()
    return bootstrap(lambda w: w @ rates / w.sum(axis=1), len(rates), groups=groups, draws=500)


def cells(
    system: System, replicas: int, seeds: int, trials: int, *, compare: bool = True
) -> Iterator[Cell]:
    """Yield the rows of one system at one number of replicas and base seeds."""
    ratio, rate = truths(system, seeds)
    truth = float(np.exp(ratio))
    rng = np.random.Generator(np.random.PCG64(derive(1, "coverage", system.name, replicas, seeds)))
    if compare:
        count = max(1, trials // 20)
        drawn = trials_of(system, replicas, seeds, count, rng, shared=True)
        sides = sum(_sides(before(pairs, rng), truth) for pairs, _ in drawn) / count
        yield _cell(system, replicas, seeds, ("ratio", "before"), count, sides)
    found = {quantity: np.zeros(2) for quantity in ("ratio", "verdict", "exponent")}
    for pairs, rates in trials_of(system, replicas, seeds, trials, rng, shared=False):
        logs = [log_ratio(*pair) for pair in pairs]
        for quantity, level in (("ratio", 0.95), ("verdict", VERDICT_LEVEL)):
            found[quantity] += _sides(ratio_of_logs(logs, replicas, level=level), truth)
        found["exponent"] += _sides(rate_interval(rates, pairs), rate)
    for quantity, sides in found.items():
        yield _cell(system, replicas, seeds, (quantity, "now"), trials, sides / trials)


def _sides(found: Estimate, truth: float) -> Array:
    """Return whether an interval lies wholly below and whether wholly above the truth."""
    return np.array([found.high < truth, found.low > truth], dtype=np.float64)


def _cell(
    system: System, replicas: int, seeds: int, what: tuple[str, str], trials: int, sides: Array
) -> Cell:
    below, above = map(float, sides)
    return Cell(system.name, replicas, seeds, *what, trials, 1.0 - below - above, below, above)


def table(
    trials: int,
    chosen: str | None = None,
    seeds_of: Sequence[int] = SEEDS,
    say: Callable[[str], object] = print,
) -> list[Cell]:
    """Measure every cell and say it as a row of a Markdown table."""
    head = ["system", "replicas", "base seeds"]
    head += ["ratio before: covers", "false convergent", "false divergent"]
    head += ["ratio now: covers", "error", "below", "above", "verdict now: false convergent"]
    head += ["false divergent", "exponent now: covers", "error"]
    say("| " + " | ".join(head) + " |")
    say("|" + " --- |" * len(head))
    out = []
    for system in (s for s in systems() if chosen in (None, s.name)):
        for seeds in seeds_of:
            for replicas in REPLICAS:
                # Thirty nets cost ten times three, and ten base seeds ten times one.
                net = system.name == "small net"
                part = 2 ** (int(net and replicas == max(REPLICAS)) + int(net and seeds == 10))
                own = list(cells(system, replicas, seeds, max(1, trials // part)))
                old, now, word, rate = own
                shares = [old.covers, old.below, old.above, now.covers, now.error, now.below]
                shares += [now.above, word.below, word.above, rate.covers, rate.error]
                shown = [f"{s:.3f}" for s in shares]
                say("| " + " | ".join([system.name, str(replicas), str(seeds), *shown]) + " |")
                out += own
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and write it as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=4000)
    parser.add_argument("--system", choices=[s.name for s in systems()])
    parser.add_argument("--seeds", type=int, nargs="+", choices=SEEDS, default=SEEDS)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    found = table(given.trials, given.system, given.seeds)
    if given.json:
        given.json.write_text(json.dumps([asdict(c) for c in found], indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
