"""Correctness and speed on an accelerator: one command, one JSON document.

Never run on one so far: none was at hand. With ``--device cpu --quick`` it runs whole on the
processor, which is what its test does.

    python -m benchmarks.gpu [--device cuda] [--quick] > gpu.json

Correctness: every driver's weights after some steps against the plain loop on the processor, in
float64; and the unperturbed twin in float32 with dropout, which must end at distance 0. Speed:
replica-steps a second of a dense net, ResNet-20 and a transformer of 10 million parameters in
loop, lock step and compiled, with the largest memory in use. What fails is named, and the rest
goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import nn

import wingbeat as wb
from wingbeat.tasks.models.character_gpt import CharacterGPT
from wingbeat.tasks.models.resnet import ResNet

DRIVERS: Final = {"loop": ("loop", False), "lock step": ("lockstep", False)}
COMPILED: Final = {"compiled": ("lockstep", True)}
_BUDGET: Final = 400.0  # seconds after which no further size is begun


def dense(drop: float = 0.0) -> nn.Module:
    """Build a 32-256-256-10 net."""
    layers = [nn.Linear(32, 256), nn.ReLU(), nn.Dropout(drop), nn.Linear(256, 256), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(256, 10))


def _loss(model: nn.Module, batch: Any) -> torch.Tensor:
    return F.cross_entropy(model(batch[0]).flatten(0, -2), batch[1].flatten())


def _task(build: Callable[[], nn.Module], x: torch.Tensor, y: torch.Tensor, steps: int) -> wb.Task:
    return wb.Task(
        model=build,
        loss=_loss,
        data=(x, y),
        optimizer=lambda p: torch.optim.AdamW(p, lr=1e-3),
        batch_size=32,
        steps=steps,
    )


def tasks(steps: int, quick: bool) -> dict[str, wb.Task]:
    """Return the nets to time, on random data: only the time of a step is asked for."""
    draws = torch.Generator().manual_seed(0)
    points, labels = torch.randn(256, 32, generator=draws), torch.arange(256) % 10
    found = {"dense": _task(dense, points, labels, steps)}
    if not quick:
        images = torch.randn(256, 3, 32, 32, generator=draws)
        words = torch.randint(64, (256, 129), generator=draws)
        gpt = partial(CharacterGPT, 64, width=320, layers=8, heads=8, length=128)
        found["ResNet-20"] = _task(partial(ResNet, 20, 16, "layer"), images, labels, steps)
        found["transformer"] = _task(gpt, words[:, :-1], words[:, 1:], steps)
    return found


def run(task: wb.Task, driver: tuple[str, bool], device: str, **options: Any) -> wb.Result:
    """Run with copies nudged at the start; nothing but distances is measured."""
    usual: dict[str, Any] = {"metrics": ["l2"], "record_every": task.steps, "progress": False}
    name, compiled = driver
    fork = wb.Gaussian(0.01)
    return wb.run(task, fork, driver=name, compiled=compiled, device=device, **{**usual, **options})


def correctness(device: str, drivers: dict[str, tuple[str, bool]]) -> dict[str, Any]:
    """Return each driver's largest relative departure from the processor's loop, and its twin."""
    task = tasks(20, quick=True)["dense"]
    noisy = replace(task, model=partial(dense, 0.2))
    plain = _weights(run(task, ("loop", False), "cpu", replicas=2, dtype=torch.float64))
    found = {}
    for name, driver in drivers.items():
        here = _weights(run(task, driver, device, replicas=2, dtype=torch.float64))
        apart = float((here - plain).norm() / plain.norm())
        twin = run(noisy, driver, device, replicas=2).noise_floor
        found[name] = {"relative_distance_float64": apart, "twin_float32_dropout": twin}
    return found


def _weights(result: wb.Result) -> torch.Tensor:
    last = list(result.trajectory)[-1]
    return torch.cat([t.flatten() for t in last.params.values()])


def speed(task: wb.Task, driver: tuple[str, bool], device: str, copies: int) -> dict[str, float]:
    """Return replica-steps a second without building, and the largest memory in use."""
    on_cuda = torch.device(device).type == "cuda"
    if on_cuda:
        torch.cuda.reset_peak_memory_stats()
    begin = time.perf_counter()
    result = run(task, driver, device, replicas=copies)
    if on_cuda:
        torch.cuda.synchronize()
    spent = time.perf_counter() - begin - float(result.environment["build_seconds"])
    memory = torch.cuda.max_memory_allocated() if on_cuda else 0
    numbers = copies * sum(p.numel() for p in task.model().parameters())
    return {
        "replica_steps_a_second": round((copies + 2) * task.steps / spent, 1),
        "build_seconds": float(result.environment["build_seconds"]),
        "peak_bytes": memory,
        "peak_bytes_per_number": round(memory / numbers, 2),
    }


def measure(device: str, quick: bool) -> dict[str, Any]:
    """Return everything as one JSON-safe document."""
    drivers = dict(DRIVERS) if quick else {**DRIVERS, **COMPILED}
    begin, counts = time.perf_counter(), (2, 4) if quick else (1, 8, 64, 512)
    card = torch.cuda.get_device_name() if torch.device(device).type == "cuda" else "processor"
    found: dict[str, Any] = {"device": card, "torch": torch.__version__}
    found["correctness"] = correctness(device, drivers)
    for net, task in tasks(8 if quick else 100, quick).items():
        for name, driver in drivers.items():
            for copies in counts:
                if time.perf_counter() - begin > _BUDGET or (name == "loop" and copies > 8):
                    continue
                place = f"{net}, {name}, {copies} copies"
                try:
                    found[place] = speed(task, driver, device, copies)
                except (RuntimeError, wb.errors.WingbeatError) as error:
                    found[place] = {"failed": str(error).partition("\n")[0]}
    found["seconds"] = round(time.perf_counter() - begin, 1)
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(arguments)
    print(json.dumps(measure(options.device, options.quick), indent=1))


if __name__ == "__main__":
    main()
