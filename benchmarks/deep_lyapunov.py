"""wingbeat beside deep-lyapunov 0.1.2 on its own job, in one run, as ratios.

The job: N trajectories (one unperturbed, N − 1 perturbed by 1 % of each tensor's standard
deviation), a snapshot each epoch, and the whole analysis with its metrics. wingbeat carries
its unperturbed twin on top. One thread. deep-lyapunov trains with an ordinary loop over a
``DataLoader``, as its documentation shows. Rounds alternate and the median is taken.

    python -m benchmarks.deep_lyapunov [--rounds 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from deep_lyapunov import StabilityAnalyzer
from torch.utils.data import DataLoader, TensorDataset

import wingbeat as wb
from wingbeat.tasks.cnn import digits_task
from wingbeat.tasks.dense import circles_task


@dataclass(frozen=True)
class Job:
    """One job: a task, the number of trajectories, and what the issue asks for."""

    name: str
    task: Callable[[], wb.Task]
    trajectories: int
    floor: float
    aim: float


JOBS = (
    Job("circles MLP 2-64-32-2, 5 trajectories", circles_task, 5, 7, 15),
    Job("circles MLP 2-64-32-2, 50 trajectories", circles_task, 50, 25, 60),
    Job("digits CNN 8-16, 5 trajectories", digits_task, 5, 3, 5),
)


def theirs(job: Job) -> float:
    """Return the seconds that deep-lyapunov takes."""
    task = job.task()
    loader = DataLoader(TensorDataset(*task.data), batch_size=task.batch_size, shuffle=True)

    def train(model: torch.nn.Module, batches: DataLoader[Any], epochs: int) -> dict[str, float]:
        optimizer = task.optimizer(model.parameters())
        model.train()
        for _ in range(epochs):
            for batch in batches:
                optimizer.zero_grad()
                loss = task.loss(model, batch)
                loss.backward()
                optimizer.step()
        return {"loss": float(loss)}

    torch.manual_seed(task.seed)
    model = task.model()
    analyzer = StabilityAnalyzer(
        model, perturbation_scale=0.01, n_trajectories=job.trajectories, verbose=False
    )
    begin = time.perf_counter()
    analyzer.analyze(train, loader, n_epochs=task.steps // task.steps_per_epoch)
    return time.perf_counter() - begin


def ours(job: Job, *, compiled: bool) -> tuple[float, float]:
    """Return the seconds that wingbeat takes without building, and those of building."""
    task = replace(job.task(), eval_data=None)  # the peer evaluates nothing
    begin = time.perf_counter()
    result = wb.run(
        task,
        wb.Gaussian(0.01),
        replicas=job.trajectories - 1,
        record_every=task.steps_per_epoch,
        driver="lockstep",
        compiled=compiled,
    )
    total = time.perf_counter() - begin
    assert result.noise_floor == 0.0
    build = result.environment["build_seconds"]
    return total - build, build


def measure(job: Job, rounds: int) -> dict[str, Any]:
    """Alternate the candidates and return medians and ratios."""
    rows: dict[str, list[float]] = {"theirs": [], "traced": [], "compiled": []}
    builds: dict[str, list[float]] = {"traced": [], "compiled": []}
    for _ in range(rounds):
        rows["theirs"].append(theirs(job))
        for mode, times in builds.items():
            torch.compiler.reset()
            seconds, build = ours(job, compiled=mode == "compiled")
            rows[mode].append(seconds)
            times.append(build)
    middle = {name: statistics.median(values) for name, values in rows.items()}
    return {
        "job": job.name,
        "seconds": {k: round(v, 3) for k, v in middle.items()},
        "all_seconds": {k: [round(x, 3) for x in v] for k, v in rows.items()},
        "build_seconds": {k: round(statistics.median(v), 2) for k, v in builds.items()},
        "ratio": {k: round(middle["theirs"] / middle[k], 1) for k in builds},
        "ratio_with_building": {
            k: round(middle["theirs"] / (middle[k] + statistics.median(builds[k])), 1)
            for k in builds
        },
        "asked": job.floor,
        "aim": job.aim,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", default="", help="run the jobs whose name holds this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = [measure(job, options.rounds) for job in JOBS if options.only in job.name]
    for row in found:
        print(json.dumps(row, indent=1))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
