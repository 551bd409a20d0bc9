"""Peak memory of a run, measured in fresh processes, beside the estimate that refuses one.

A dense net of one large layer is run with each driver, optimizer and number of replicas; the peak
is the largest resident size of the process less what it was before the run.

    python -m benchmarks.peak_memory [--width 2000] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CASES = (
    ("loop", "SGD", 2, "folder"),
    ("loop", "SGD", 6, "folder"),
    ("loop", "AdamW", 2, "folder"),
    ("loop", "AdamW", 6, "folder"),
    ("loop", "SGD", 2, "memory"),
    ("lockstep", "SGD", 2, "folder"),
    ("lockstep", "SGD", 6, "folder"),
    ("lockstep", "AdamW", 2, "folder"),
    ("lockstep", "AdamW", 6, "folder"),
    ("auto", "SGD", 2, "folder"),
)
"""Driver, optimizer, perturbed replicas, and where snapshots go."""


def resident() -> int:
    """Return the resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def one(width: int, driver: str, optimizer: str, replicas: int, where: str) -> dict[str, Any]:
    """Run one case in this process and return its peak and the size of one model, in bytes."""
    import torch

    import wingbeat as wb
    from wingbeat.execution import needed_memory

    torch.set_num_threads(1)
    x = torch.randn(16, width)
    task = wb.Task(
        model=lambda: torch.nn.Linear(width, width, bias=False),
        loss=lambda model, batch: (model(batch[0]) - batch[1]).square().mean(),
        data=(x, x),
        optimizer=lambda params: getattr(torch.optim, optimizer)(params, lr=0.01),
        batch_size=8,
        steps=4,
    )
    options: dict[str, Any] = {"replicas": replicas, "record_every": 2, "metrics": ("l2",)}
    options |= {"driver": driver, "progress": False}
    # What is loaded once is not of the run.
    small = task.__class__(**{**vars(task), "model": lambda: torch.nn.Linear(width, 1, bias=False)})
    wb.run(small, wb.Gaussian(0.01), **options)
    seen: list[Any] = []
    asked = needed_memory.check
    needed_memory.check = lambda *a, **k: seen.append(asked(*a, **k))  # type: ignore[assignment]
    before = resident()
    with tempfile.TemporaryDirectory() as folder:
        wb.run(task, wb.Gaussian(0.01), out=folder if where == "folder" else None, **options)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    return {"peak": peak, "model": 4 * width * width, "estimate": seen[-1] if seen else None}


def measured(width: int) -> list[dict[str, Any]]:
    """Measure every case in a process of its own."""
    rows = []
    for case in CASES:
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
    size = row["model"]
    estimate = "" if row["estimate"] is None else f", estimated {row['estimate'] / size:.1f}"
    print(
        f"{driver:9}{optimizer:6}{replicas + 2:3} replicas, {where}: "
        f"peak {row['peak'] / size:.1f} models{estimate}",
        flush=True,
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--case")
    asked = parser.parse_args(arguments)
    if asked.case:
        print(json.dumps(one(asked.width, *json.loads(asked.case))))
        return
    rows = measured(asked.width)
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
