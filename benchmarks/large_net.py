"""From which size on does lock step save nothing? Steps of the loop and of lock step, in turn.

Dense nets of four equal layers, batches of 32, AdamW, one thread; the two drivers take a step each
in turn, and the ratio of their fastest steps is shown: above 1 lock step is faster.

    python -m benchmarks.large_net [--millions 1,2,4,8] [--copies 4,8] [--rounds 5]
"""

from __future__ import annotations

import argparse
import time

import torch

import wingbeat as wb
from wingbeat.replicas.drivers.lockstep import Lockstep
from wingbeat.replicas.drivers.object_loop import alone
from wingbeat.replicas.fork import twin
from wingbeat.replicas.replicas import Replicas
from wingbeat.task.batches import Batches, Streams
from wingbeat.task.step import TrainingStep

LAYERS = 4


def made(millions: float) -> wb.Task:
    """Return a task of about so many million parameters."""
    width = round((millions * 1e6 / LAYERS) ** 0.5)
    x = torch.randn(128, width, generator=torch.Generator().manual_seed(0))

    def model() -> torch.nn.Module:
        pairs = [(torch.nn.Linear(width, width), torch.nn.ReLU()) for _ in range(LAYERS)]
        return torch.nn.Sequential(*(part for pair in pairs for part in pair))

    return wb.Task(
        model=model,
        loss=lambda net, batch: net(batch[0]).square().mean(),
        data=(x,),
        optimizer=lambda params: torch.optim.AdamW(params, lr=1e-4),
        batch_size=32,
        steps=100,
    )


def placed(task: wb.Task, copies: int, driver: str) -> Replicas:
    """Return replicas of a task at the start."""
    step = TrainingStep(task, torch.float32, torch.device("cpu"))
    batches = Batches(task, torch.float32, torch.device("cpu"))
    own = Lockstep(step) if driver == "lockstep" else alone(step)
    replicas = Replicas(own, batches, 0 if driver == "lockstep" else 1)
    start = step.start(0).map(lambda t: t.unsqueeze(0))
    members = [twin(f"copy {i}", Streams.of(0)) for i in range(copies)]
    replicas.place(members, [start] * copies)
    return replicas


def measured(millions: float, copies: int, rounds: int) -> dict[str, float]:
    """Return the fastest step of each driver, in milliseconds."""
    both = {name: placed(made(millions), copies, name) for name in ("loop", "lockstep")}
    best = dict.fromkeys(both, float("inf"))
    for index in range(rounds + 1):
        for name, replicas in both.items():
            begin = time.perf_counter()
            replicas.advance(index, in_place=replicas.large)
            if index:  # the first records
                best[name] = min(best[name], 1000 * (time.perf_counter() - begin))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millions", default="1,2,4,8")
    parser.add_argument("--copies", default="4,8")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for millions in map(float, asked.millions.split(",")):
        for copies in map(int, asked.copies.split(",")):
            best = measured(millions, copies, asked.rounds)
            print(
                f"{millions:g} M parameters, {copies} copies: loop {best['loop']:.0f} ms, "
                f"lock step {best['lockstep']:.0f} ms, ratio {best['loop'] / best['lockstep']:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
