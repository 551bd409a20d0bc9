"""Peak memory of a run, measured in fresh processes, beside the estimate that refuses one.

A dense net of eight layers is run with each driver, optimizer and number of replicas; the peak is
the largest resident size of the process less what it was before the run. It stands beside what
nobody can do without: weights, optimizer state and a gradient of every copy.

    python -m benchmarks.peak_memory [--width 1776] [--only loop,AdamW] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

OPTIMIZERS: dict[str, tuple[str, dict[str, float], int]] = {
    "SGD": ("SGD", {"lr": 0.001}, 0),
    "momentum": ("SGD", {"lr": 0.001, "momentum": 0.9}, 1),
    "AdamW": ("AdamW", {"lr": 0.0001}, 2),
}
"""Class, options, and how many numbers it keeps for each weight."""
CASES = (
    *(("loop", name, many, "folder") for name in OPTIMIZERS for many in (0, 1, 2, 8)),
    *(("lockstep", name, many, "folder") for name in OPTIMIZERS for many in (0, 1, 2, 6, 14)),
    ("loop", "SGD", 2, "memory"),
    ("loop", "AdamW", 8, "memory"),
    ("lockstep", "SGD", 2, "memory"),
    ("auto", "AdamW", 8, "folder"),
)
"""Driver, optimizer, perturbed replicas (0: reference and twin), and where snapshots go."""
LAYERS = 8
"""Of equal size, as in most nets: no tensor is a large share of the whole."""


def resident() -> int:
    """Return the resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def one(width: int, driver: str, optimizer: str, replicas: int, where: str) -> dict[str, Any]:
    """Run one case in this process and return its peak and the size of one model, in bytes."""
    import torch

    import wingbeat as wb
    from wingbeat.execution import needed_memory

    torch.set_num_threads(1)
    kind, settings, slots = OPTIMIZERS[optimizer]
    x = torch.randn(16, width)

    def net(size: int) -> torch.nn.Module:
        layers = [torch.nn.Linear(size, size, bias=False) for _ in range(LAYERS)]
        return torch.nn.Sequential(*layers)

    task = wb.Task(
        model=lambda: net(width),
        loss=lambda model, batch: model(batch[0]).square().mean(),
        data=(x, x),
        optimizer=lambda params: getattr(torch.optim, kind)(params, **settings),
        batch_size=8,
        steps=4,
    )
    options: dict[str, Any] = {"replicas": max(1, replicas), "record_every": 2, "metrics": ("l2",)}
    options |= {"driver": driver, "progress": False}
    nudges = wb.Gaussian(0.01) if replicas else ()  # reference and twin alone
    # What is loaded once is not of the run.
    small = replace(task, model=lambda: net(4), data=(x[:, :4], x[:, :4]))
    with tempfile.TemporaryDirectory() as folder:
        wb.run(small, nudges, out=folder if where == "folder" else None, **options)
    seen: list[Any] = []
    asked = needed_memory.check
    needed_memory.check = lambda *a, **k: seen.append(asked(*a, **k))  # type: ignore[assignment]
    before = resident()
    with tempfile.TemporaryDirectory() as folder:
        wb.run(task, nudges, out=folder if where == "folder" else None, **options)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    model = 4 * LAYERS * width * width
    floor = (replicas + 2) * (2 + slots) * model
    return {"peak": peak, "model": model, "floor": floor, "estimate": seen[-1]}


def measured(width: int, only: set[str]) -> list[dict[str, Any]]:
    """Measure cases in a process each: those that have all these words among theirs."""
    rows = []
    for case in CASES:
        if not only <= set(map(str, case)):
            continue
        words = [sys.executable, "-m", "benchmarks.peak_memory", "--case", json.dumps(case)]
        done = subprocess.run(
            [*words, "--width", str(width)], capture_output=True, text=True, check=True
        )
        rows.append({"case": case, **json.loads(done.stdout.splitlines()[-1])})
        show(rows[-1])
    return rows


def show(row: dict[str, Any]) -> None:
    """Print one case in models' sizes."""
    driver, optimizer, replicas, where = row["case"]
    size, peak, copies = row["model"], row["peak"], replicas + 2
    print(
        f"{driver:9}{optimizer:9}{copies:3} copies, {where:6}: peak {peak / size:5.1f} models, "
        f"{peak / row['floor']:.2f} of what it must be, "
        f"estimated {row['estimate'] / size:.1f} ({row['estimate'] / peak:.2f})",
        flush=True,
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=1776)
    parser.add_argument("--only", default="", help="words of the cases, with commas")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--case")
    asked = parser.parse_args(arguments)
    if asked.case:
        print(json.dumps(one(asked.width, *json.loads(asked.case))))
        return
    rows = measured(asked.width, {word for word in asked.only.split(",") if word})
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
