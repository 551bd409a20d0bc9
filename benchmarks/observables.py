"""What each observable costs beside the training that it looks at: processor time.

``python -m benchmarks.observables``: a dense net on the digits, one reference, its twin and four
copies for ten epochs, twelve records; each metric alone on the recorded run, as a share of the time
that training took. Then what is no metric: the dimension of a path (a record every update),
training with the kernel of the start held fixed (as a share of training one such model as long), a
kernel by tensors (as a share of the kernel as a whole), and hidden Markov models of one to six
states (as a share of training the ten runs they are fitted to). Medians of three rounds that
alternate; ``--rounds N`` for more.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch

import wingbeat as wb
from wingbeat.analyses.states import fit_states, series_of
from wingbeat.curvature.linearised import linearised
from wingbeat.curvature.tangent import TangentKernel
from wingbeat.execution.result import Result
from wingbeat.measure import measure
from wingbeat.measure.metric import METRICS
from wingbeat.metrics.weight_statistics import INVARIANT
from wingbeat.task.step import TrainingStep
from wingbeat.tasks.dense import digits_mlp_task

NAMES = (
    "unit_cosine", "sign_flips", "cka", "drift", "displacement", "activation_flips",
    "feature_gap", "neural_collapse", "topology", "loops", "rtd_lite", "kernel", "local_elasticity",
    "weight_statistics",
)  # fmt: skip
SEEDS = 10
"""Runs whose latent states are fitted."""


def timed(job: Callable[[], Any]) -> float:
    begun = time.process_time()
    job()
    return time.process_time() - begun


def show(name: str, own: float, trained: float) -> None:
    print(f"{name:20s} {own:7.2f} s, {own / trained:5.0%} of training", flush=True)


def missing(name: str) -> bool:
    needs = METRICS.find(name).requires
    return bool(needs) and find_spec(needs.split(":")[0]) is None


def metrics(rounds: int) -> None:
    """Time every metric on one recorded run."""
    task = digits_mlp_task()
    kept: list[Result] = []

    def train(every: int = 20) -> None:
        kept.append(wb.run(task, wb.Gaussian(0.01), replicas=4, record_every=every, metrics="l2"))

    train()  # what a first run imports and compiles is no part of a training
    trained = statistics.median(timed(train) for _ in range(rounds))
    print(f"training of six models and their records: {trained:.2f} s", flush=True)
    step = TrainingStep(task, torch.float32, torch.device("cpu"))

    def look(name: str, result: Result) -> None:
        measure(result.trajectory, task, [name], None, step=step)

    def own(name: str, result: Result) -> float:
        pairs = [(timed(lambda: look(name, result)), timed(lambda: look("l2", result)))
                 for _ in range(rounds)]  # fmt: skip
        return statistics.median(a - b for a, b in pairs)

    for name in NAMES:
        if missing(name):
            print(f"{name:20s} its package is not installed")
        else:
            show(name, own(name, kept[0]), trained)
    train(1)
    show("path_dimension", own("path_dimension", kept[-1]), trained)


def fixed_kernel(rounds: int) -> None:
    """Time training with the kernel of the start held fixed, against training the model itself."""
    task = digits_mlp_task(batch_norm=False, dropout=0.0, augment=False)
    options: dict[str, Any] = {
        "replicas": 1, "metrics": "l2", "record_every": task.steps, "driver": "loop",
    }  # fmt: skip
    start = wb.run(task, **options).trajectory.at(0)
    pairs = [
        (timed(lambda: wb.run(linearised(task, start), **options)),
         timed(lambda: wb.run(task, **options)))
        for _ in range(rounds)
    ]  # fmt: skip
    show("linearised", *(statistics.median(part) for part in zip(*pairs, strict=True)))


def by_tensors(rounds: int) -> None:
    """Time the tangent kernel by tensors, against the kernel as a whole."""
    kernel = TangentKernel(digits_mlp_task(), 128)
    state = kernel.step.start(0)
    pairs = [
        (timed(lambda: kernel.by_layer(state.params, state.buffers)),
         timed(lambda: kernel.matrix(state.params, state.buffers)))
        for _ in range(rounds)
    ]  # fmt: skip
    own, whole = (statistics.median(part) for part in zip(*pairs, strict=True))
    print(f"{'kernel by tensors':20s} {own:7.2f} s, {own / whole:5.0%} of the kernel", flush=True)


def states(rounds: int) -> None:
    """Time the fit of one to six states, five starts each, to the runs of ten base seeds."""
    if find_spec("hmmlearn") is None:
        print("latent states        hmmlearn is not installed")
        return
    task = digits_mlp_task()
    kept: list[Result] = []

    def train() -> None:
        options: dict[str, Any] = {"metrics": "weight_statistics", "record_every": 4}
        kept.append(wb.run(task, wb.Gaussian(0.01), replicas=1, seeds=range(SEEDS), **options))

    trained = statistics.median(timed(train) for _ in range(rounds))
    every = series_of(kept[:1], INVARIANT)
    series = every.only([run for run in every.runs if run.endswith("/reference")])
    took = [timed(lambda: fit_states(series, range(1, 7), restarts=5)) for _ in range(rounds)]
    show("latent states", statistics.median(took), trained)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    metrics(rounds)
    fixed_kernel(rounds)
    by_tensors(rounds)
    states(rounds)


if __name__ == "__main__":
    main()
