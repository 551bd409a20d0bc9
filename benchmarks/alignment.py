"""Permutation symmetries and alignment: time at BERT-base size, and a barrier beside rebasin.

Three jobs, one table each. `bert`: the specification of a 12-layer BERT-base configuration with
its numerical check, then weight matching (one descent, float32 products) of the model with a
permuted copy with 10 % noise, and with an independent one; random weights. `mlp`: two MLPs
(3x512) trained on MNIST from independent seeds, and the barrier of the cross-entropy between
them (25 points) before and after alignment, beside PyPI's rebasin. Wall time and CPU time.

    python -m benchmarks.alignment [bert] [mlp] [--epochs 30] [--threads 1] [--json FILE]
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wingbeat.metrics.barrier import alpha_grid, barrier
from wingbeat.symmetry import align, aligned_distance, permutation_spec, repair, weight_matching
from wingbeat.tasks.data.sources import Images, images

State = Mapping[str, Tensor]


def timed(job: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Return a result with its wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = job()
    seconds = time.perf_counter() - wall, time.process_time() - cpu
    return found, {"seconds": round(seconds[0], 2), "cpu_seconds": round(seconds[1], 2)}


def bert() -> list[dict[str, Any]]:
    """Time the specification of BERT-base and weight matching of two of them."""
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(0)
    one, other = BertForMaskedLM(BertConfig()), BertForMaskedLM(BertConfig())
    inputs = {"input_ids": torch.arange(32).reshape(2, 16)}
    spec, seconds = timed(lambda: permutation_spec(one, inputs, outputs=lambda out: out.logits))
    rows = [{"job": "permutation_spec", **seconds, "groups": len(spec.groups),
             "largest_gap": spec.largest_gap}]  # fmt: skip
    a = one.state_dict()
    p = spec.random(1)
    b = noised(p.apply(a), spec.tied)
    found, seconds = timed(lambda: weight_matching(a, b, spec, restarts=1))
    rows.append({"job": "match a permuted copy", **seconds, "exact": found == p.inverse()})
    found, seconds = timed(lambda: weight_matching(a, other.state_dict(), spec, restarts=1))
    before = aligned_distance(a, other, spec, spec.identity())
    after = aligned_distance(a, other, spec, found)
    rows.append({"job": "match an independent one", **seconds, "l2": [before, after]})
    return rows


def noised(state: State, tied: Mapping[str, tuple[str, ...]]) -> dict[str, Tensor]:
    """Multiply every weight by 1 + 0.1 times a normal number, tied ones alike."""
    made = {n: t * (1 + 0.1 * torch.randn_like(t)) if t.is_floating_point() else t
            for n, t in state.items()}  # fmt: skip
    return {name: made[tied[name][0]] if name in tied else t for name, t in made.items()}


def network() -> nn.Sequential:
    """Return the MLP: 784, three times 512, 10."""
    widths, layers = (784, 512, 512, 512), list[nn.Module]()
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(512, 10))


def trained(data: Images, seed: int, epochs: int) -> nn.Sequential:
    """Train with Adam (1e-3, batches of 500), initialisation and order from the seed."""
    torch.manual_seed(seed)
    model = network()
    x, y = data.train[0].flatten(1), data.train[1]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(500):
            optimizer.zero_grad()
            F.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    return model


def height(a: State, b: State, data: Images) -> dict[str, float]:
    """Return barriers of loss and error between two models, on both splits."""
    model, alphas, found = network(), alpha_grid(), {}
    for split, (x, y) in (("train", data.train), ("test", data.test)):
        losses, errors = [], []
        for alpha in alphas:
            mixed = {name: a[name].lerp(b[name], float(alpha)) for name in a}
            with torch.no_grad():
                logits = torch.func.functional_call(model, mixed, x.flatten(1))
            losses.append(float(F.cross_entropy(logits, y)))
            errors.append(float((logits.argmax(1) != y).double().mean()))
        for name, values in (("loss", losses), ("error", errors)):
            found[f"{split} {name}"] = round(float(barrier(alphas, values).value), 4)
    return found


def mlp(epochs: int) -> list[dict[str, Any]]:
    """Compare barriers and times of ways to align two independently trained MLPs."""
    data = images()
    one, other = (trained(data, seed, epochs) for seed in (1, 2))
    a, b = dict(one.state_dict()), dict(other.state_dict())
    x = data.train[0].flatten(1)
    accuracy = [
        round(float((m(data.test[0].flatten(1)).argmax(1) == data.test[1]).double().mean()), 4)
        for m in (one, other)
    ]
    spec, spec_time = timed(lambda: permutation_spec(one, x[:500]))
    batches = list(x[: len(x) // 500 * 500].split(500))
    rows: list[dict[str, Any]] = [
        {"job": data.source.label, "test accuracy": accuracy},
        {"job": "permutation_spec", **spec_time},
        {"job": "as trained", **height(a, b, data)},
    ]
    ways: dict[str, Callable[[], State]] = {
        "wingbeat, weights, 1 descent": lambda: align(a, b, spec, restarts=1).apply(b),
        "wingbeat, weights, 3 descents": lambda: align(a, b, spec).apply(b),
        "wingbeat, activations": lambda: align(
            a, b, spec, "activations", batches=batches, restarts=1
        ).apply(b),
        "rebasin": lambda: theirs(one, other, x[:500]),
    }
    for name, way in ways.items():
        moved, seconds = timed(way)
        apart = sum(float((a[n] - moved[n]).double().pow(2).sum()) for n in a) ** 0.5
        rows.append({"job": name, **seconds, "l2": round(apart, 3), **height(a, moved, data)})
    rows.append({"job": "middle, 1 descent, with REPAIR", **repaired(a, b, spec, batches, data)})
    return rows


def repaired(
    a: State,
    b: State,
    spec: Any,
    batches: list[Tensor],
    data: Images,
) -> dict[str, float]:
    """Return the test loss at the middle of the aligned line, before and after REPAIR."""
    moved = align(a, b, spec, restarts=1).apply(b)
    middle = {name: a[name].lerp(moved[name], 0.5) for name in a}
    fixed = repair(network(), middle, a, moved, batches)
    x, y = data.test[0].flatten(1), data.test[1]
    return {
        label: round(float(F.cross_entropy(torch.func.functional_call(network(), s, x), y)), 4)
        for label, s in (("test loss before", middle), ("test loss after", fixed))
    }


def theirs(one: nn.Module, other: nn.Module, x: Tensor) -> State:
    """Align with rebasin, which permutes the second model in place."""
    from rebasin import PermutationCoordinateDescent

    moved = copy.deepcopy(other)
    PermutationCoordinateDescent(copy.deepcopy(one), moved, x).rebasin()
    return moved.state_dict()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jobs", nargs="*", default=["bert", "mlp"])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    jobs = {"bert": bert, "mlp": lambda: mlp(options.epochs)}
    found = {name: jobs[name]() for name in options.jobs}
    for name, rows in found.items():
        print(f"{name}, {options.threads} thread{'s' * (options.threads > 1)}")
        for row in rows:
            words = (f"{key} {value}" for key, value in row.items() if key != "job")
            print(f"  {row['job']:32}" + "  ".join(words))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
