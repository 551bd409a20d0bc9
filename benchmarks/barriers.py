"""All-pairs barriers in one batched pass beside one weight vector at a time, as ratios.

Four models (6 pairs, 25 points) of each architecture, 1024 training samples in the 20 batches that
an error bar needs.
The peer is the ordinary loop: for every pair and point, weights are interpolated, written into
one module with ``load_state_dict``, batch statistics estimated on all samples, and loss and error
evaluated batch by batch. Both run in one process on one thread, alternating, after a first round
that does not count; medians of processor time are taken. The largest difference of the losses is
printed beside the times. "stacked" forces stacks, "chosen" is what `Probe` does by itself.

    python -m benchmarks.barriers [--rounds 3] [--only NAME] [--memory MIB]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import wingbeat as wb
from wingbeat.landscape import Models, Probe, line
from wingbeat.metrics.barrier import alpha_grid
from wingbeat.task.step import TrainingStep
from wingbeat.tasks.data.sklearn import digits
from wingbeat.tasks.dense import mlp

MODELS, SAMPLES, BATCH = 4, 1024, 52


def small_cnn() -> nn.Module:
    """Build a CNN with two batch normalisations for 8 × 8 images."""
    layers: list[nn.Module] = []
    for inner, outer in ((1, 8), (8, 16)):
        layers += [nn.Conv2d(inner, outer, 3, padding=1), nn.BatchNorm2d(outer), nn.ReLU()]
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        *layers,
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


class Encoder(nn.Module):
    """Two encoder layers of torch over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, 0.0, F.gelu, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return class scores."""
        out: Tensor = self.head(self.layers(self.embed(x.unflatten(1, (8, 8)))).mean(1))
        return out


@dataclass(frozen=True)
class Job:
    """An architecture."""

    name: str
    model: Callable[[], nn.Module]


JOBS = (
    Job("MLP 64-32-10", lambda: mlp((64, 32, 10))),
    Job("MLP 64-512-512-512-10", lambda: mlp((64, 512, 512, 512, 10))),
    Job("CNN 8-16 with BatchNorm", small_cnn),
    Job("transformer, 2 layers of width 32", Encoder),
)


def entropy(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Cross-entropy."""
    return F.cross_entropy(model(batch[0]), batch[1])


def prepared(job: Job) -> tuple[wb.Task, TrainingStep, Models]:
    """Return a task on the digits and four models of it with different initialisation."""
    (x, y), _ = digits()
    task = wb.Task(
        model=job.model,
        loss=entropy,
        data=(x[:SAMPLES].flatten(1), y[:SAMPLES]),
        optimizer=lambda params: torch.optim.SGD(params, lr=0.1),
        batch_size=BATCH,
        steps=1,
    )
    step = TrainingStep(task, torch.float32, torch.device("cpu"))
    states = [step.start(seed) for seed in range(MODELS)]
    buffers = {k: torch.stack([s.buffers[k] for s in states]) for k in states[0].buffers}
    labels = tuple(f"model {i}" for i in range(MODELS))
    return task, step, Models(labels, torch.stack([s.params for s in states]), buffers)


def one_at_a_time(task: wb.Task, step: TrainingStep, models: Models) -> np.ndarray:
    """Return the losses (pairs, points) by the ordinary loop."""
    model = step.build(0).eval()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0  # one pass over all samples at once leaves their statistics
    x, y = task.data
    out = []
    with torch.no_grad():
        for i, j in combinations(range(MODELS), 2):
            for alpha in alpha_grid():
                weights = torch.lerp(models.params[i], models.params[j], float(alpha))
                model.load_state_dict(step.layout.unflatten(weights), strict=False)
                if norms:
                    model.train()
                    model(x)
                    model.eval()
                out.append(evaluated(model, x, y))
    return np.array(out).reshape(-1, len(alpha_grid()))


def evaluated(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return the loss over all samples; the error is computed as well, as `Probe` does."""
    total, wrong = 0.0, 0
    for batch, labels in zip(x.split(BATCH), y.split(BATCH), strict=True):
        scores = model(batch)
        total += float(F.cross_entropy(scores, labels)) * len(batch)
        wrong += int((scores.argmax(-1) != labels).sum())
    return total / len(x)


def measure(job: Job, rounds: int, memory: int) -> dict[str, Any]:
    """Alternate all and return medians and their ratios."""
    task, step, models = prepared(job)
    times: dict[str, list[float]] = {"one at a time": [], "stacked": [], "chosen": []}
    apart = 0.0
    for _ in range(rounds + 1):
        begin = time.process_time()
        slow = one_at_a_time(task, step, models)
        times["one at a time"].append(time.process_time() - begin)
        for name, stacked in (("stacked", True), ("chosen", None)):
            begin = time.process_time()
            probe = Probe(step, batch_size=BATCH, memory=memory, stacked=stacked)
            fast = line(probe, models).curve().values
            times[name].append(time.process_time() - begin)
            apart = max(apart, float(np.abs(slow - fast).max()))
    middle = {name: statistics.median(values[1:]) for name, values in times.items()}
    return {
        "model": job.name,
        "parameters": step.layout.size,
        "seconds": {name: round(value, 3) for name, value in middle.items()},
        "ratio": {
            name: round(middle["one at a time"] / middle[name], 2) for name in ("stacked", "chosen")
        },
        "largest_difference": float(f"{apart:.2g}"),
        "one_by_one_because": probe.reason,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="run the jobs whose name holds this")
    parser.add_argument("--memory", type=int, default=64, help="bound in MiB")
    options = parser.parse_args()
    torch.set_num_threads(1)
    heads = ("parameters", "one at a time", "stacked", "chosen", "x stacked", "x chosen", "apart")
    print(f"{'model':34}" + "".join(f"{head:>15}" for head in heads) + "  why not stacked")
    for job in JOBS:
        if options.only in job.name:
            print(line_of(measure(job, options.rounds, options.memory << 20)), flush=True)


def line_of(found: dict[str, Any]) -> str:
    """Return one row of the table: processor seconds, and how many times as fast."""
    numbers = [
        f"{found['parameters']:,}",
        *(f"{value:.3f}" for value in found["seconds"].values()),
        *(f"{value:.2f}" for value in found["ratio"].values()),
        f"{found['largest_difference']:.0e}",
    ]
    columns = "".join(f"{number:>15}" for number in numbers)
    return f"{found['model']:34}{columns}  {found['one_by_one_because'] or '-'}"


if __name__ == "__main__":
    main()
