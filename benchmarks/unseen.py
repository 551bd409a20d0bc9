"""How often intervals hold the truth on systems that they were not made with.

`benchmarks.coverage` has the systems with which the intervals were chosen. These were drawn up
afterwards: two growing directions of unlike rates, a product of random matrices, a ring of coupled
logistic maps, a transformer and a convolutional net, both trained by a plain loop in PyTorch. Of
the last three 8,000 copies of one start are run once; each experiment takes copies that no other
of its size takes, and the truth is that of all of them. Two more maps are drawn up against the
intervals: one direction that carries two thirds of the last spread's square beside 19 alike, and
copies that grow by lognormal factors of e^0.5 along many directions. Everything is seeded; nothing
depends on a clock.

    python -m benchmarks.unseen [--trials 2000] [--system transformer]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.coverage import Array, System, cells, rate_interval
from wingbeat.determinism import derive
from wingbeat.metrics import gram, spread_ratio
from wingbeat.stats import VERDICT_LEVEL, Estimate

REPLICAS = (3, 5, 10, 30)
SIZE = 20
COPIES = 8000
UPDATES = 30
NUDGE = 0.01

Loss = Callable[[dict[str, Tensor]], Tensor]
"""From weights ``(copies, ...)`` by name to a loss for each copy."""


def maps() -> list[System]:
    """Return the maps; each has a true ratio of exactly 1."""
    rates = np.concatenate([[0.5, 0.3], np.full(SIZE - 2, -0.1)])
    rng = _generator("matrices")
    product = np.eye(SIZE)
    for _ in range(8):
        product = rng.normal(size=(SIZE, SIZE)) @ product
    hidden = np.diag(np.sqrt([2.0 / 3.0, *np.full(SIZE - 1, 1.0 / 3.0 / (SIZE - 1))]))
    found = {
        "two unlike directions": np.diag(np.exp(6 * rates)),
        "random matrices": product,
        "hidden direction": hidden,
    }
    many = _linear("uneven along many", np.diag(np.exp(0.7 * rng.normal(size=SIZE))), 0.5)
    return [*(_linear(name, matrix) for name, matrix in found.items()), many]


def _linear(name: str, matrix: Array, uneven: float = 0.0) -> System:
    matrix = matrix * np.sqrt(SIZE / (matrix**2).sum())

    def grow(nudges: Array, own: Array, rng: np.random.Generator) -> Array:
        logs = uneven * rng.normal(size=(*nudges.shape[:2], 1)) - uneven**2
        return np.asarray(nudges @ matrix.T * np.exp(own[:, None, None] + logs))

    def levels(seeds: int, rng: np.random.Generator) -> Array:
        return 0.3 * rng.normal(size=seeds) if seeds > 1 else np.zeros(1)

    rng = _generator("rate")
    nudges = rng.normal(size=(1, 200_000, SIZE))
    rate = float(_rates(nudges, grow(nudges, np.zeros(1), rng)).mean())
    return System(name, levels, grow, 0.0, rate)


def pools() -> dict[str, Callable[[], tuple[Array, Array]]]:
    """Return what makes nudges and last distances of `COPIES` copies, ``(copies, P)`` each."""
    return {
        "coupled logistic maps": _logistic,
        "transformer": lambda: _trained(_transformer, *_transformers()),
        "convolutional net": lambda: _trained(_convolutional, *_convolutionals()),
    }


def _logistic(sites: int = 12, steps: int = 8) -> tuple[Array, Array]:
    rng = _generator("logistic")
    start, nudges = rng.uniform(0.2, 0.8, size=sites), rng.normal(size=(COPIES, sites))

    def run(x: Array) -> Array:
        for _ in range(steps):
            x = 3.9 * x * (1.0 - x)
            x = 0.8 * x + 0.1 * (np.roll(x, 1, axis=-1) + np.roll(x, -1, axis=-1))
        return x

    size = 1e-4
    return nudges, (run(start + size * nudges) - run(start)) / size


def _trained(loss: Loss, start: dict[str, Tensor], rate: float) -> tuple[Array, Array]:
    """Train copies of a start by gradient descent, and the reference beside them."""
    flat = torch.cat([value.flatten() for value in start.values()])
    nudges = torch.tensor(_generator("nudges").normal(size=(COPIES, len(flat))))
    begun = torch.cat([flat[None], flat + NUDGE * flat.std() * nudges])
    ended = torch.cat([_descended(loss, start, part, rate) for part in begun.split(250)])
    last = (ended[1:] - ended[:1]) / (NUDGE * flat.std())
    return nudges.numpy(), last.numpy()


def _descended(loss: Loss, start: dict[str, Tensor], flat: Tensor, rate: float) -> Tensor:
    cut = [value.numel() for value in start.values()]
    for _ in range(UPDATES):
        flat = flat.detach().requires_grad_()
        parts = zip(start.items(), flat.split(cut, dim=1), strict=True)
        weights = {name: part.reshape(-1, *value.shape) for (name, value), part in parts}
        (slope,) = torch.autograd.grad(loss(weights).sum(), flat)
        flat = flat - rate * slope
    return flat.detach()


def _transformers(width: int = 6) -> tuple[dict[str, Tensor], float]:
    shapes = {
        "token": (6, width), "place": (5, width), "query": (width, width), "key": (width, width),
        "value": (width, width), "inner": (width, 12), "outer": (12, width), "head": (width, 6),
    }  # fmt: skip
    return _start("transformer", shapes), 0.7


def _transformer(w: dict[str, Tensor]) -> Tensor:
    """Return the loss of one block that says which token stood first."""
    tokens = torch.tensor(_generator("tokens").integers(0, 6, size=(16, 5)))
    x = w["token"][:, tokens] + w["place"][:, None]  # (copies, 16, 5, width)
    query, key, value = (x @ w[name][:, None] for name in ("query", "key", "value"))
    x = x + functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    x = functional.layer_norm(x, x.shape[-1:])
    x = x + functional.gelu(x @ w["inner"][:, None]) @ w["outer"][:, None]
    scores = x[:, :, -1] @ w["head"]
    truth = tokens[:, 0].expand(len(scores), -1)
    each = functional.cross_entropy(scores.flatten(0, 1), truth.flatten(), reduction="none")
    return each.reshape(truth.shape).mean(dim=1)


def _convolutionals(channels: int = 3) -> tuple[dict[str, Tensor], float]:
    shapes = {"kernel": (channels, 9), "bias": (channels,), "head": (channels * 16, 4)}
    return _start("convolutional", shapes), 0.5


def _convolutional(w: dict[str, Tensor]) -> Tensor:
    """Return the loss of a 3 x 3 convolution with pooling, on pictures of four bright corners."""
    rng = _generator("pictures")
    truth = torch.tensor(rng.integers(0, 4, size=16))
    pictures = torch.tensor(rng.normal(size=(16, 1, 8, 8)))
    for i, corner in enumerate(truth.tolist()):
        row, column = 4 * (corner // 2), 4 * (corner % 2)
        pictures[i, 0, row : row + 4, column : column + 4] += 1.0
    patches = functional.unfold(pictures, 3, padding=1)  # (16, 9, 64)
    seen = torch.relu(w["kernel"][:, None] @ patches + w["bias"][:, None, :, None])
    pooled = functional.avg_pool2d(seen.unflatten(-1, (8, 8)).flatten(0, 1), 2)
    scores = pooled.reshape(*seen.shape[:2], -1) @ w["head"]
    wanted = truth.expand(len(scores), -1)
    each = functional.cross_entropy(scores.flatten(0, 1), wanted.flatten(), reduction="none")
    return each.reshape(wanted.shape).mean(dim=1)


def _start(name: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    rng = _generator(name, "start")
    return {k: torch.tensor(0.4 * rng.normal(size=shape)) for k, shape in shapes.items()}


def _generator(*what: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(derive(0, "unseen", *what)))


def _rates(nudges: Array, grown: Array) -> Array:
    return np.asarray(np.log(np.linalg.norm(grown, axis=-1) / np.linalg.norm(nudges, axis=-1)))


def shares_of_pool(nudges: Array, grown: Array, replicas: int, trials: int) -> Array:
    """Return covers, below and above for ratio, verdict and exponent; and trials last."""
    ratio = float(np.sqrt(grown.var(axis=0).sum() / nudges.var(axis=0).sum()))
    rates = _rates(nudges, grown)
    order = _generator("order", str(replicas)).permutation(len(nudges))
    count = min(trials, len(order) // replicas)
    sides = np.zeros((3, 2))
    for rows in order[: count * replicas].reshape(count, replicas):
        pair = (gram(nudges[rows]), gram(grown[rows]))
        sides[0] += _missed(spread_ratio([pair]), ratio)
        sides[1] += _missed(spread_ratio([pair], level=VERDICT_LEVEL), ratio)
        sides[2] += _missed(rate_interval(rates[rows], [pair]), float(rates.mean()))
    return np.append(sides / count, [[count, 0]], axis=0)


def _missed(found: Estimate, truth: float) -> Array:
    return np.array([found.high < truth, found.low > truth], dtype=np.float64)


def rows(trials: int, chosen: str | None = None) -> Iterator[tuple[str, int, Array]]:
    """Yield system, replicas, and the shares beyond either side of `shares_of_pool`."""
    for system in (s for s in maps() if chosen in (None, s.name)):
        for replicas in REPLICAS:
            found = cells(system, replicas, 1, trials, compare=False)
            sides = [[cell.below, cell.above] for cell in found]
            yield system.name, replicas, np.array([*sides, [trials, 0]])
    for name, make in pools().items():
        if chosen in (None, name):
            nudges, grown = make()
            for replicas in REPLICAS:
                yield name, replicas, shares_of_pool(nudges, grown, replicas, trials)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--system", choices=[*(s.name for s in maps()), *pools()])
    given = parser.parse_args(arguments)
    head = ["system", "replicas", "trials", "ratio covers", "error", "below", "above"]
    head += ["false convergent", "false divergent", "exponent covers"]
    print("| " + " | ".join(head) + " |")
    print("|" + " --- |" * len(head))
    for name, replicas, sides in rows(given.trials, given.system):
        (ratio, verdict, rate), count = sides[:3], int(sides[3, 0])
        covers = 1.0 - ratio.sum()
        error = float(np.sqrt(max(covers * (1 - covers), 1 / count) / count))
        numbers = [covers, error, *ratio, *verdict, 1.0 - rate.sum()]
        print(
            f"| {name} | {replicas} | {count} | " + " | ".join(f"{x:.3f}" for x in numbers) + " |"
        )


if __name__ == "__main__":
    main()
