"""A replica-step of residual nets beside the best plain PyTorch, and what small kernels take.

``python -m benchmarks.convolution [--compiled] [--json FILE]``: plain loops (as they are, and with
channels last) and ours (loop, and recorded with channels last) in turn, on one thread, by processor
time; ratios are medians of rounds, to the faster of the plain ones of the same round. Then four
replicas on one core and on two, by the clock. ``--compiled`` adds ``torch.compile`` on both
sides, which takes minutes before it begins. At the end single convolutions of these nets: torch's
own in both memory formats, unfolded as a matrix product, and both for a stack of replicas.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wingbeat.replicas.drivers.object_loop import alone
from wingbeat.replicas.drivers.recorded_loop import RecordedLoop
from wingbeat.replicas.fork import twin
from wingbeat.replicas.replicas import Driver, Replicas
from wingbeat.task.batches import Batches, Streams
from wingbeat.task.step import TrainingStep
from wingbeat.task.task import Task
from wingbeat.tasks.models.resnet import ResNet

NETS: dict[str, dict[str, Any]] = {
    "ResNet-8 (width 8, batch 32, layer norm)": {"net": (8, 8, "layer"), "batch": 32},
    "ResNet-20 (width 16, batch 64, batch norm)": {"net": (20, 16, "batch"), "batch": 64},
    "ResNet-8 (width 16, batch 64, group norm)": {"net": (8, 16, "group"), "batch": 64},
}
SAMPLES, REPLICAS, STACK = 512, 4, 8
SHAPES = ((32, 8, 32), (32, 16, 16), (32, 32, 8), (64, 16, 32), (64, 32, 16), (64, 64, 8))
"""Batch, channels and side of the 3x3 convolutions in these nets."""
CPU, LAST = torch.device("cpu"), torch.channels_last
Step = Callable[[], Any]


def entropy(model: torch.nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def task(net: tuple[Any, ...], batch: int) -> Task:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SAMPLES, 3, 32, 32, generator=generator)
    return Task(
        model=partial(ResNet, *net),
        loss=entropy,
        data=(x, torch.randint(0, 10, (SAMPLES,), generator=generator)),
        optimizer=partial(torch.optim.SGD, lr=0.01, momentum=0.9),
        batch_size=batch,
        steps=10_000,
    )


def plain(of: Task, last: bool = False, compiled: bool = False) -> Step:
    """Return one step of a loop as people write it, its loss read as they do."""
    torch.manual_seed(0)
    model: Any = of.model()
    model = model.to(memory_format=LAST) if last else model
    optimizer = of.optimizer(model.parameters())
    called = torch.compile(model) if compiled else model
    x, y = of.data

    def step() -> float:
        rows = torch.randperm(SAMPLES)[: of.batch_size]
        images = x[rows].to(memory_format=LAST) if last else x[rows]
        optimizer.zero_grad()
        loss = entropy(called, (images, y[rows]))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return float(loss.detach())

    return step


def ours(of: Task, make: Callable[[TrainingStep], Driver], replicas: int = 1) -> Step:
    """Return one step of equal replicas under a driver."""
    step = TrainingStep(of, torch.float32, CPU)
    held = Replicas(make(step), Batches(of, torch.float32, CPU), 1)
    start, streams = step.start(0).map(lambda t: t.unsqueeze(0)), Streams.of(0)
    held.place([twin(str(i), streams) for i in range(replicas)], [start] * replicas)
    numbers = iter(range(of.steps))
    return lambda: (held.advance(next(numbers)), held.take_losses())


def in_turn(
    steps: dict[str, Step], rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Return milliseconds a call in each round."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step(), step()
    for _ in range(rounds):
        for name, step in steps.items():
            begun = clock()
            step(), step(), step()
            found[name].append((clock() - begun) * 1e3 / 3)
    return found


def one_core(of: Task, rounds: int, compiled: bool) -> dict[str, Any]:
    torch.set_num_threads(1)
    recorded = {"recorded": "channels_last"}
    steps = {"plain": plain(of), "plain, channels last": plain(of, last=True)}
    if compiled:
        steps["plain, compiled"] = plain(of, compiled=True)
        steps["plain, channels last, compiled"] = plain(of, last=True, compiled=True)
        recorded["recorded, compiled"] = "compiled_channels_last"
    theirs = tuple(steps)
    steps["loop"] = ours(of, alone)
    steps |= {k: ours(of, partial(RecordedLoop, mode=m)) for k, m in recorded.items()}
    times = in_turn(steps, rounds, time.process_time)
    found: dict[str, Any] = {}
    for name, own in times.items():
        rivals = [t for t in theirs if name.endswith("compiled") or "compiled" not in t]
        ratios = [a / min(times[t][i] for t in rivals) for i, a in enumerate(own)]
        found[name] = {"ms": min(own), "to best plain": statistics.median(ratios)}
    return found


def two_cores(of: Task, rounds: int) -> dict[str, Any]:
    """Return the seconds of four replicas with one thread and two, and the median ratio."""
    steps, times = {}, {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        steps[threads] = ours(of, partial(RecordedLoop, mode="channels_last"), REPLICAS)
        steps[threads](), steps[threads]()
    loop = {threads: ours(of, alone, REPLICAS) for threads in (1, 2)}
    for kind, both in (("recorded", steps), ("loop", loop)):
        pairs = []
        for _ in range(rounds):
            row = []
            for threads in (1, 2):
                torch.set_num_threads(threads)
                begun = time.perf_counter()
                both[threads]()
                row.append((time.perf_counter() - begun) * 1e3 / REPLICAS)
            pairs.append(row)
        best = [min(column) for column in zip(*pairs, strict=True)]
        times[kind] = {
            "ms, one core": best[0],
            "ms, two cores": best[1],
            "best to best": best[0] / best[1],
            "gain": statistics.median(a / b for a, b in pairs),
        }
    torch.set_num_threads(1)
    return times


def columns(x: Tensor) -> Tensor:
    """Unfold images ``(n, h, w, c)`` into the rows ``(n h w, 9 c)`` of a matrix product."""
    n, h, w, c = x.shape
    padded = F.pad(x, (0, 0, 1, 1, 1, 1))
    a, b, d, _ = padded.stride()
    return padded.as_strided((n, h, w, 3, 3 * c), (a, b, d, b, 1)).reshape(n * h * w, 9 * c)


def kernels(batch: int, channels: int, side: int) -> dict[str, float]:
    """Return milliseconds of one convolution, forward alone and with both derivatives."""
    torch.manual_seed(0)
    x = torch.randn(batch, channels, side, side)
    g, w = torch.randn_like(x), torch.randn(channels, channels, 3, 3)
    xl, gl, wl = (t.contiguous(memory_format=LAST) for t in (x, g, w))
    rows, grad = xl.permute(0, 2, 3, 1), gl.permute(0, 2, 3, 1).reshape(-1, channels)
    there = w.permute(2, 3, 1, 0).reshape(9 * channels, channels).contiguous()
    back = w.flip(2, 3).permute(2, 3, 0, 1).reshape(9 * channels, channels).contiguous()
    many, own = torch.cat([rows] * STACK), torch.stack([there] * STACK)
    wide, grouped = x.repeat(1, STACK, 1, 1), w.repeat(STACK, 1, 1, 1)

    def derived(grad: Tensor, x: Tensor, w: Tensor) -> Any:
        pairs: list[Any] = [[1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True, True, False]]
        return torch.ops.aten.convolution_backward(grad, x, w, None, *pairs)

    calls: dict[str, Step] = {
        "forward": lambda: F.conv2d(x, w, padding=1),
        "forward, channels last": lambda: F.conv2d(xl, wl, padding=1),
        "forward, unfolded": lambda: columns(rows) @ there,
        "derivatives": lambda: derived(g, x, w),
        "derivatives, channels last": lambda: derived(gl, xl, wl),
        "derivatives, unfolded": lambda: (
            columns(rows).t() @ grad,
            columns(grad.view(rows.shape)) @ back,
        ),
        "stack, unfolded": lambda: torch.bmm(columns(many).view(STACK, -1, 9 * channels), own),
        "stack, grouped": lambda: F.conv2d(wide, grouped, padding=1, groups=STACK),
    }
    times = in_turn(calls, 5, time.perf_counter)
    each = {k: min(v) / (STACK if k.startswith("stack") else 1) for k, v in times.items()}
    return {name: round(ms, 3) for name, ms in each.items()}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--compiled", action="store_true")
    asked = parser.parse_args(arguments)
    found: dict[str, Any] = {}
    for name, options in NETS.items():
        of = task(**options)
        both = {
            "one core": one_core(of, asked.rounds, asked.compiled),
            "two cores": two_cores(of, asked.rounds),
        }
        found[name] = both
        print(name)
        for kind, row in both["one core"].items():
            print(f"  {kind}: {row['ms']:.1f} ms, {row['to best plain']:.2f} of the best plain")
        for kind, row in both["two cores"].items():
            print(
                f"  {kind}, {REPLICAS} replicas: "
                + ", ".join(f"{k} {v:.3g}" for k, v in row.items())
            )
    torch.set_num_threads(1)
    found["convolutions"] = {str(shape): kernels(*shape) for shape in SHAPES}
    for shape, row in found["convolutions"].items():
        print(f"{shape}: " + ", ".join(f"{k} {v:.2f}" for k, v in row.items()))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
