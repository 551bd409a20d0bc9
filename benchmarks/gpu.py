"""Correctness and speed on an accelerator: one command, one JSON document.

With ``--device cpu --quick`` it runs whole on the processor, which is what its test does.

    python -m benchmarks.gpu [--device cuda] [--quick] [--seconds 240] > gpu.json

Correctness: every driver's weights after some steps against the plain loop on the processor, in
float64; and the unperturbed twin in float32 with dropout, which must end at distance 0. Speed:
replica-steps a second of a dense net, ResNet-20 and a transformer of 10 million parameters, replica
by replica, in lock step (recorded, as a CUDA graph, compiled), in float32 and bfloat16, beside a
loop written by hand, with the memory of a replica. What fails is named, and the rest goes on.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import nn

import wingbeat as wb
from wingbeat.determinism import deterministic_algorithms
from wingbeat.replicas.drivers.accelerator import finish
from wingbeat.replicas.drivers.lockstep import Lockstep
from wingbeat.replicas.drivers.object_loop import alone
from wingbeat.task.batches import Batches, Streams
from wingbeat.task.step import TrainingStep
from wingbeat.tasks.models.character_gpt import CharacterGPT
from wingbeat.tasks.models.resnet import ResNet

DRIVERS: Final[dict[str, dict[str, Any]]] = {
    "loop": {"driver": "loop"},
    "recorded": {"driver": "lockstep", "compiled": False},
    "usual": {"driver": "lockstep"},
    "compiled": {"driver": "lockstep", "compiled": True},
}
"""As they are asked for in ``wb.run``; the usual one is a CUDA graph where there is CUDA."""
MODES: Final = ("traced", "graphed", "compiled")
COUNTS: Final = {"dense": (1, 8, 64, 512), "ResNet-20": (1, 8, 64, 256), "transformer": (1, 8, 32)}
_SAMPLES, _LEAST = 15, 0.4
"""Steps of which the median is taken, and seconds after which fewer are enough."""


def dense(drop: float = 0.0) -> nn.Module:
    """Build a 32-256-256-10 net."""
    layers = [nn.Linear(32, 256), nn.ReLU(), nn.Dropout(drop), nn.Linear(256, 256), nn.ReLU()]
    return nn.Sequential(*layers, nn.Dropout(drop), nn.Linear(256, 10))


def gpt(width: int = 320, layers: int = 8) -> nn.Module:
    """Build a transformer over characters; the usual one has 10 million parameters."""
    return CharacterGPT(64, width=width, layers=layers, heads=8, length=128)


def _loss(model: nn.Module, batch: Any) -> torch.Tensor:
    return F.cross_entropy(model(batch[0]).flatten(0, -2), batch[1].flatten())


def task(build: Callable[[], nn.Module], kind: str, steps: int) -> wb.Task:
    """Return a task on random data of a kind: points, images or words."""
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(256) % 10
    if kind == "points":
        data = torch.randn(256, 32, generator=draws), labels
    elif kind == "images":
        data = torch.randn(256, 3, 32, 32, generator=draws), labels
    else:
        words = torch.randint(64, (256, 129), generator=draws)
        data = words[:, :-1], words[:, 1:]
    return wb.Task(
        model=build,
        loss=_loss,
        data=data,
        optimizer=lambda p: torch.optim.AdamW(p, lr=1e-3),
        batch_size=32,
        steps=steps,
    )


def tasks(steps: int) -> dict[str, wb.Task]:
    """Return the nets to time, on random data: only the time of a step is asked for."""
    return {
        "dense": task(dense, "points", steps),
        "ResNet-20": task(partial(ResNet, 20, 16, "layer"), "images", steps),
        "transformer": task(gpt, "words", steps),
    }


def small(steps: int) -> dict[str, wb.Task]:
    """Return nets of the same kinds, small enough for a comparison with the processor."""
    return {
        "dense": task(dense, "points", steps),
        "ResNet-8": task(partial(ResNet, 8, 8, "layer"), "images", steps),
        "transformer": task(partial(gpt, 32, 1), "words", steps),
    }


def run(of: wb.Task, device: str, **options: Any) -> wb.Result:
    """Run with copies nudged at the start; nothing but distances is measured."""
    usual: dict[str, Any] = {"metrics": ["l2"], "record_every": of.steps, "progress": False}
    return wb.run(of, wb.Gaussian(0.01), device=device, **{**usual, **options})


def correctness(device: str, names: tuple[str, ...], nets: tuple[str, ...]) -> dict[str, Any]:
    """Return each driver's largest relative departure from the processor's loop, and its twin."""
    found: dict[str, Any] = {}
    noisy = replace(task(partial(dense, 0.2), "points", 20))
    for name in names:
        made = run(noisy, device, replicas=2, **DRIVERS[name])
        found[f"twin, {name}"] = made.noise_floor
        found[f"mode, {name}"] = made.environment["mode"]
    for net in nets:
        of = small(10)[net]
        plain = weights(run(of, "cpu", driver="loop", replicas=2, dtype=torch.float64))
        for name in names if net == "dense" else [n for n in names if n != "compiled"]:
            here = weights(run(of, device, replicas=2, dtype=torch.float64, **DRIVERS[name]))
            found[f"distance, {net}, {name}"] = float((here - plain).norm() / plain.norm())
    return found


def weights(result: wb.Result) -> torch.Tensor:
    """Return all replicas' last weights as one row."""
    last = list(result.trajectory)[-1]
    return torch.cat([t.flatten() for t in last.params.values()])


def by_hand(of: wb.Task, device: torch.device) -> Callable[[], None]:
    """Return one step of a training loop as people write it."""
    model = of.model().to(device)
    optimizer = of.optimizer(model.parameters())
    batch = tuple(t[:32].to(device) for t in of.data)

    def step() -> None:
        kind = of.precision and torch.bfloat16
        with torch.autocast(device.type, kind, enabled=kind is not None):
            loss = of.loss(model, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def of_driver(of: wb.Task, mode: str, device: torch.device, copies: int) -> Callable[[], None]:
    """Return one step of a stack of replicas, after it has been built and run once."""
    step = TrainingStep(of, torch.float32, device)
    batch = Batches(of, torch.float32, device).batch(Streams.of(0), 0)
    start = step.start(0)
    if mode == "loop":
        driver: Any = alone(step)
        states = [start.map(lambda t: t.unsqueeze(0).clone()) for _ in range(copies)]
    else:
        driver = Lockstep(step, mode)  # type: ignore[arg-type]
        states = [start.map(lambda t: t.expand(copies, *t.shape).clone())]

    def advance() -> None:
        for i, state in enumerate(states):
            states[i] = driver(state, batch, 1)[0]

    advance()
    return advance


def speed(
    step: Callable[[], None], copies: int, device: torch.device, before: int
) -> dict[str, float]:
    """Return replica-steps a second, the median of a few steps, and the memory taken at most."""
    taken: list[float] = []
    step()
    finish(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    while (len(taken) < _SAMPLES and sum(taken) < _LEAST) or len(taken) < 3:
        begin = time.perf_counter()
        step()
        finish(device)
        taken.append(time.perf_counter() - begin)
    memory = (torch.cuda.max_memory_allocated(device) - before) if device.type == "cuda" else 0
    return {
        "replica_steps_a_second": round(copies / statistics.median(taken), 1),
        "milliseconds": round(1000 * statistics.median(taken), 3),
        "peak_megabytes_a_replica": round(memory / copies / 1e6, 1),
    }


def rates(device: str, quick: bool, seconds: float, say: Callable[[str], Any]) -> dict[str, Any]:
    """Return the speed of every net, driver and number of copies that the time allows."""
    here, begin, found = torch.device(device), time.perf_counter(), {}
    for name, of in tasks(100).items():
        if quick and name != "dense":
            continue
        for precision in (None, "bf16"):
            typed = replace(of, precision=precision)
            for mode, copies in _places(name, quick, precision):
                place = f"{name}, {precision or 'float32'}, {mode}, {copies} copies"
                if time.perf_counter() - begin > seconds:
                    found[place] = {"failed": "no time left"}
                    continue
                found[place] = _tried(typed, mode, copies, here)
                say(f"{place}: {found[place]}")
    return found


def _places(name: str, quick: bool, precision: str | None) -> list[tuple[str, int]]:
    """Return modes and numbers of copies, the ones that matter most first."""
    counts = (2, 4) if quick else COUNTS[name]
    stacks = [("traced", n) for n in counts] if quick or precision is None else []
    places = [("by hand", 1), ("loop", counts[0] if quick else 1), *stacks]
    if not quick:
        places += [("graphed", n) for n in (counts if precision is None else counts[-2:-1])]
        places += [("compiled", counts[-2])] if precision is None else []
    return places


def _tried(of: wb.Task, mode: str, copies: int, device: torch.device) -> dict[str, Any]:
    on_cuda, before = device.type == "cuda", 0
    if on_cuda:  # libraries take their workspace at their first product, whoever asks
        torch.mm(*[torch.ones(64, 64, device=device)] * 2)
        before = torch.cuda.memory_allocated(device)
    begin = time.perf_counter()
    try:
        with deterministic_algorithms():
            step = by_hand(of, device) if mode == "by hand" else of_driver(of, mode, device, copies)
            finish(device)
            built = time.perf_counter() - begin
            return {**speed(step, copies, device, before), "build_seconds": round(built, 2)}
    except (RuntimeError, wb.errors.WingbeatError) as error:
        return {"failed": str(error).partition("\n")[0][:200]}
    finally:
        step = None  # type: ignore[assignment]
        gc.collect()
        if on_cuda:
            torch.cuda.empty_cache()


def measure(
    device: str, quick: bool, seconds: float = 240.0, say: Callable[[str], Any] = lambda _: None
) -> dict[str, Any]:
    """Return everything as one JSON-safe document."""
    begin = time.perf_counter()
    card = torch.cuda.get_device_name() if torch.device(device).type == "cuda" else "processor"
    found: dict[str, Any] = {"device": card, "torch": torch.__version__}
    names = ("loop", "usual") if quick else tuple(DRIVERS)
    nets = ("dense",) if quick else ("dense", "ResNet-8", "transformer")
    found["correctness"] = correctness(device, names, nets)
    say(json.dumps(found["correctness"]))
    found["speed"] = rates(device, quick, seconds, say)
    found["seconds"] = round(time.perf_counter() - begin, 1)
    return found


def main(arguments: list[str] | None = None) -> None:
    import sys

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seconds", type=float, default=240.0, help="after which no size is begun")
    options = parser.parse_args(arguments)
    told = partial(print, file=sys.stderr, flush=True)
    print(json.dumps(measure(options.device, options.quick, options.seconds, told), indent=1))


if __name__ == "__main__":
    main()
