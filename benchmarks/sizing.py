"""How large and how long: bytes and time of a condition, measured small and projected large.

Three dense nets of growing size are probed (``wingbeat.study.plan.probe``): seconds per step and
peak memory; a snapshot of each is written, flushed and read back with its digest. Bytes are
counted, not measured: 4 bytes x parameters x (replicas + 2) x snapshots in float32. The rate of
the largest net (operations per second, with 6 per parameter, sample and replica for a step) is
carried on to 1 and 70 billion parameters: a projection, which no run here has checked.

    python -m benchmarks.sizing [--json FILE] [--device-flops 1e14]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wingbeat.replicas.snapshot import Snapshot
from wingbeat.study.condition import Condition
from wingbeat.study.plan import probe
from wingbeat.task.task import Task
from wingbeat.trajectory.store import FolderStore

WIDTHS = (64, 256, 1024)
BATCH, STEPS, REPLICAS, SNAPSHOTS = 64, 1000, 5, 20
PROJECTED = (1e6, 1e7, 1e8, 1e9, 7e10)


@dataclass(frozen=True)
class Rates:
    """What was measured on one size."""

    parameters: int
    seconds_per_step: float
    seconds_per_snapshot: float
    memory: int

    @property
    def operations(self) -> float:
        """Operations per second of a training step, all replicas together."""
        return 6 * self.parameters * BATCH * (REPLICAS + 2) / self.seconds_per_step

    @property
    def snapshot_bytes(self) -> float:
        """Bytes per second of writing a snapshot and reading it back."""
        return size(self.parameters, 1) / self.seconds_per_snapshot


def net(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))


def dense(width: int) -> Task:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4 * BATCH, width, generator=generator)
    return Task(
        model=partial(net, width),
        loss=lambda model, batch: nn.functional.mse_loss(model(batch[0]), batch[1]),
        data=(x, x.flip(1)),
        optimizer=partial(torch.optim.SGD, lr=0.01),
        batch_size=BATCH,
        steps=STEPS,
    )


def size(parameters: float, snapshots: int, replicas: int = REPLICAS) -> float:
    """Return the bytes of the snapshots of one condition in float32."""
    return 4 * parameters * (replicas + 2) * snapshots


def measured() -> list[Rates]:
    found = []
    for width in WIDTHS:
        condition = Condition(
            "benchmarks.sizing:dense",
            {"width": width},
            replicas=REPLICAS,
            record_every=STEPS // SNAPSHOTS,
            metrics=("l2", "spread"),
            driver="loop",
        )
        p = probe(condition)
        found.append(Rates(p.parameters, p.seconds_per_step, snapshot_seconds(width), p.memory))
    return found


def snapshot_seconds(width: int) -> float:
    """Return the seconds to write a snapshot of all replicas and to read it back, at best."""
    params = {
        name: torch.randn(REPLICAS + 2, *p.shape) for name, p in net(width).named_parameters()
    }
    labels = tuple(str(i) for i in range(REPLICAS + 2))
    best = float("inf")
    with tempfile.TemporaryDirectory() as folder:
        store = FolderStore(Path(folder), create=True)
        for step in range(5):
            begin = time.perf_counter()
            store.append(Snapshot(step, labels, params, {}, torch.zeros(1, REPLICAS + 2)))
            store.read(step)
            best = min(best, time.perf_counter() - begin)
    return best


def projected(rates: Rates, device_flops: float) -> list[dict[str, Any]]:
    rows = []
    for parameters in PROJECTED:
        work = 6 * parameters * BATCH * (REPLICAS + 2) * STEPS
        content = size(parameters, SNAPSHOTS)
        rows.append(
            {
                "parameters": parameters,
                "snapshot bytes": size(parameters, 1),
                "bytes": content,
                "train here, s": work / rates.operations,
                "train on the device, s": work / device_flops,
                "snapshots, s": content / rates.snapshot_bytes,
            }
        )
    return rows


def amount(number: float) -> str:
    for unit in ("", " k", " M", " G"):
        if number < 1000:
            return f"{number:.3g}{unit}"
        number /= 1000
    return f"{number:.3g} T"


def span(seconds: float) -> str:
    for unit, length in (("s", 60), ("min", 60), ("h", 24), ("d", 365)):
        if seconds < length:
            return f"{seconds:.2g} {unit}"
        seconds /= length
    return f"{seconds:.3g} years"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--device-flops", type=float, default=1e14)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rates = measured()
    print(f"measured: one thread, {REPLICAS} replicas + 2, batch {BATCH}, loop driver")
    for r in rates:
        print(
            f"  {amount(r.parameters):>7} parameters: {r.seconds_per_step * 1e3:.3g} ms/step "
            f"({amount(r.operations)}FLOP/s), {r.seconds_per_snapshot * 1e3:.3g} ms/snapshot "
            f"({amount(r.snapshot_bytes)}B/s), peak {amount(r.memory)}B"
        )
    rows = projected(rates[-1], asked.device_flops)
    print(
        f"projection: {STEPS} steps, {SNAPSHOTS} snapshots, device {asked.device_flops:.0e} FLOP/s"
    )
    print(
        "| parameters | one snapshot | all snapshots | training here | on the device | snapshots |"
    )
    print("|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {amount(row['parameters'])} | {amount(row['snapshot bytes'])}B "
            f"| {amount(row['bytes'])}B | {span(row['train here, s'])} "
            f"| {span(row['train on the device, s'])} | {span(row['snapshots, s'])} |"
        )
    if asked.json:
        found = {"measured": [vars(r) for r in rates], "projected": rows}
        asked.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
