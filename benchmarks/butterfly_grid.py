"""The spawn-and-perturb grid in one pass beside every pair trained from scratch, as ratios.

An MLP 784-32-10 on MNIST (or its stand-in), 60 steps of 64 images; forks at 0, 2, 10 and 50 % of
training, two sizes of Gaussian noise, two replicas: 16 pairs. The peer trains for each pair a
reference from the start, perturbs a copy of it at its step and trains both on, with the same loop
driver that the package has, without an unperturbed twin. One pass is `wb.run` with everything
that belongs to it: twin, snapshots, the distances; once in lock step and once with the loop
driver. All in one process on one thread, alternating, after a first round that does not count;
medians of processor and wall time. The largest difference between the final distances of both
ways is printed beside the times.

    python -m benchmarks.butterfly_grid [--rounds 3]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch

import wingbeat as wb
from wingbeat.replicas.drivers.loop import Loop
from wingbeat.replicas.fork import fork, twin
from wingbeat.replicas.perturb import Perturbation
from wingbeat.replicas.replicas import Replicas
from wingbeat.task.batches import Batches, Streams
from wingbeat.task.step import TrainingStep
from wingbeat.tasks.from_scratch import mnist_mlp

TIMES, SIZES, REPLICAS, STEPS = (0.0, 0.02, 0.1, 0.5), (1e-2, 1e-1), 2, 60
Distances = dict[str, float]


def task_of() -> wb.Task:
    """Return the task."""
    return mnist_mlp((32,), samples=1280, batch_size=64, epochs=3)


def grid() -> list[Perturbation]:
    """Return the perturbations."""
    return [
        wb.Gaussian(size, at=round(when * STEPS), relative_to="init", exclude="bias")
        for when in TIMES
        for size in SIZES
    ]


def one_pass(task: wb.Task, perturbations: Sequence[Perturbation], driver: str) -> Distances:
    """Train the grid in one pass and return the final distances."""
    result = wb.run(
        task,
        perturbations,
        replicas=REPLICAS,
        record_every=task.steps,
        metrics=("l2",),
        driver=driver,  # type: ignore[arg-type]
        compiled=False,
        progress=False,
    )
    end = result.table[(result.table["step"] == task.steps) & (result.table["layer"] == "")]
    kept = end[end["perturbation"] != "null"]
    return dict(zip(kept["b"], kept["value"], strict=True))


def separately(task: wb.Task, perturbations: Sequence[Perturbation]) -> Distances:
    """Train every pair from scratch and return the final distances."""
    found = {}
    for perturbation in perturbations:
        for replica in range(1, REPLICAS + 1):
            found[f"{perturbation.label}#{replica}"] = pair(task, perturbation, replica)
    return found


def pair(task: wb.Task, perturbation: Perturbation, replica: int) -> float:
    """Train a reference and one copy, perturbed at its step, and return their final distance."""
    step = TrainingStep(task, torch.float32, torch.device("cpu"))
    batches, streams = Batches(task, torch.float32, torch.device("cpu")), Streams.of(task.seed)
    replicas = Replicas(Loop(step), batches, 1)
    start = step.start(task.seed).map(lambda t: t.unsqueeze(0))
    replicas.place([twin("reference", streams)], [start])
    for index in range(task.steps + 1):
        if index == perturbation.at:
            reference = replicas.states()[0]
            state, member = fork(
                step, reference.map(lambda t: t[0]), streams, perturbation, replica, batches
            )
            others = [reference, state.map(lambda t: t.unsqueeze(0))]
            replicas.place([replicas.members[0], member], others)
        if index < task.steps:
            replicas.advance(index)
    first, second = (s.params.double() for s in replicas.states())
    return float((first - second).norm())


def timed(work: Callable[[], Distances]) -> tuple[Distances, float, float]:
    """Return what the work gives, and its wall and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - wall, time.process_time() - processor


def replica_steps(perturbations: Sequence[Perturbation], steps: int) -> tuple[int, int]:
    """Return the updates of one pass (with its twin), and of all pairs from scratch."""
    rest = [steps - p.at for p in perturbations]
    return 2 * steps + REPLICAS * sum(rest), REPLICAS * sum(steps + left for left in rest)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    task, perturbations = task_of(), grid()
    ways: dict[str, Callable[[], Distances]] = {
        "one pass, lock step": lambda: one_pass(task, perturbations, "lockstep"),
        "one pass, loop": lambda: one_pass(task, perturbations, "loop"),
        "each pair from scratch, loop": lambda: separately(task, perturbations),
    }
    wall: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, Distances] = {}
    for turn in range(rounds + 1):
        for name, work in ways.items():
            found[name], w, p = timed(work)
            if turn:
                wall[name].append(w)
                processor[name].append(p)
    ours, theirs = replica_steps(perturbations, task.steps)
    *_, peer = ways
    print(f"{task.name}: {task.steps} steps, {len(found[peer])} pairs")
    print(f"replica-steps: {ours:,} in one pass, {theirs:,} in pairs: {theirs / ours:.2f} times")
    for name in ways:
        gap = max(abs(found[name][k] - v) / v for k, v in found[peer].items())
        w, p = statistics.median(wall[name]), statistics.median(processor[name])
        slower = statistics.median(wall[peer]) / w, statistics.median(processor[peer]) / p
        print(
            f"{name:30} wall {w:6.2f} s, processor {p:6.2f} s; from scratch takes {slower[0]:.2f} "
            f"and {slower[1]:.2f} times as long; largest relative difference {gap:.1e}"
        )


if __name__ == "__main__":
    main()
