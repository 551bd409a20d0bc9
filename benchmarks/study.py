"""Studies: two processes beside one, and the time to plan ten thousand conditions.

1. A study of 8 small conditions inline (one after the other, one thread) and with
   ``ProcessRunner(2)``, alternating, in one run. The first round pays on both sides for what a
   program loads once: inline what a first recorded step imports, the processes also the start of
   the server that imports torch for them. Later rounds find both loaded.
   ``--whole`` measures whole commands instead, from the shell to the page: the same conditions as
   a study file, each command a program of its own, and ``--before`` an earlier checkout beside it.
2. ``Ledger.left`` and ``plan_study`` (without probes) over 10,000 conditions, of which none, half
   and all are done, and the collection of 10,000 finished records.

    python -m benchmarks.study [--rounds 3] [--epochs 20] [--json FILE] [--whole [--before FOLDER]]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd

import wingbeat
from wingbeat.files import parquet
from wingbeat.study.condition import Condition
from wingbeat.study.grid import cross
from wingbeat.study.ledger import Ledger
from wingbeat.study.load import load_study
from wingbeat.study.outcome import collect
from wingbeat.study.plan import plan_study
from wingbeat.study.run import run_study
from wingbeat.study.runner import InlineRunner, ProcessRunner, Runner

TABLE = pd.DataFrame({"metric": "l2", "step": range(20), "value": 0.5})
EIGHT = """
[base]
factory = "wingbeat.tasks.dense:circles_task"
metrics = ["l2", "spread"]
arguments = {{ epochs = {epochs} }}

[axes]
arguments.lr = [0.003, 0.01]
seed = [0, 1, 2, 3]
"""
AIM_SPEED_UP, AIM_SECONDS = 1.7, 5.0


def eight(epochs: int) -> list[Condition]:
    start = Condition(
        "wingbeat.tasks.dense:circles_task", {"epochs": epochs}, metrics=("l2", "spread")
    )
    return cross(start, {"arguments.lr": [0.003, 0.01], "seed": [0, 1, 2, 3]})


def seconds(act: Callable[[], object]) -> float:
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


def speed_up(rounds: int, epochs: int) -> dict[str, Any]:
    runners: dict[str, Callable[[], Runner]] = {
        "inline": InlineRunner,
        "processes": lambda: ProcessRunner(2),
    }
    found: dict[str, list[float]] = {name: [] for name in runners}
    tables = set()
    for _ in range(rounds):
        for name, make in runners.items():
            with tempfile.TemporaryDirectory() as folder:
                runner = make()
                found[name].append(seconds(lambda: run_study(eight(epochs), folder, runner)))  # noqa: B023
                tables.add((Path(folder) / "table.parquet").read_bytes())
    assert len(tables) == 1, "the runners disagree"
    parts = {"first": slice(0, 1), "later": slice(1, None)}
    return {name: ratio(found, part) for name, part in parts.items() if found["inline"][part]}


def whole(rounds: int, epochs: int, before: str | None) -> None:
    """Print the seconds of whole commands, and what two processes gain in each round."""
    sources = {
        "now": str(Path(wingbeat.__file__).parents[1]),
        **({"before": before} if before else {}),
    }
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, source in sources.items():
            for runner in ("inline", "processes"):
                row = found.setdefault(f"{name}, {runner}", [])
                row.append(seconds(lambda: command(source, runner, epochs)))  # noqa: B023
    for name in sources:
        one, two = found[f"{name}, inline"], found[f"{name}, processes"]
        gain = statistics.median(a / b for a, b in zip(one, two, strict=True))
        middle = [statistics.median(times) for times in (one, two)]
        print(f"{name}: inline {middle[0]:.2f} s, 2 processes {middle[1]:.2f} s, {gain:.2f} times")
    if before:
        old, new = found["before, processes"], found["now, processes"]
        gain = statistics.median(a / b for a, b in zip(old, new, strict=True))
        print(f"2 processes, before against now: {gain:.2f} times")


def command(source: str, runner: str, epochs: int) -> None:
    """Run the study of eight conditions as a command of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "eight.toml"
        file.write_text(EIGHT.format(epochs=epochs), encoding="utf-8")
        words = ["study", str(file), "--runner", runner, "--out", f"{folder}/out", "--quiet"]
        workers = ["--workers", "2"] if runner == "processes" else []
        subprocess.run(
            [sys.executable, "-m", "wingbeat", *words, *workers],
            check=True,
            env={**os.environ, "PYTHONPATH": source},
            cwd=folder,
        )


def ratio(found: dict[str, list[float]], part: slice) -> dict[str, float]:
    """Return the medians of some rounds and their ratio."""
    medians = {name: statistics.median(times[part]) for name, times in found.items()}
    return {**medians, "speed_up": medians["inline"] / medians["processes"]}


def planning(count: int) -> list[dict[str, Any]]:
    grid = cross(
        Condition("wingbeat.tasks.dense:circles_task", {"epochs": 1}),
        {"arguments.lr": [i / count for i in range(1, count // 100 + 1)], "seed": range(100)},
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        ledger, done = Ledger(Path(folder)), 0
        for share in (0.0, 0.5, 1.0):
            until = int(share * len(grid))
            with quickly():
                for condition in grid[done:until]:
                    finish(ledger, condition)
            done = until
            fresh = [Condition.from_json(c.to_json()) for c in grid]  # without remembered keys
            rows.append(
                {
                    "conditions": len(grid),
                    "done": done,
                    "left": seconds(lambda: ledger.left(fresh)),  # noqa: B023
                    "plan": seconds(lambda: plan_study(fresh, folder, probes=0)),  # noqa: B023
                }
            )
        rows[-1]["collect"] = seconds(lambda: collect(ledger, grid, {}))
        rows[-1]["load_study"] = seconds(lambda: load_study(folder).conditions)
    return rows


@contextmanager
def quickly() -> Iterator[None]:
    """Prepare records without flushing each to the disk, and with one table for all."""
    content = parquet(TABLE)
    with (
        patch("wingbeat.study.ledger.write_bytes", Path.write_bytes),
        patch("wingbeat.study.ledger.parquet", lambda _: content),
    ):
        yield


def finish(ledger: Ledger, condition: Condition) -> None:
    facts = {
        "summary": {"lyapunov": {"value": 0.1, "low": 0.0, "high": 0.2, "reason": ""}},
        "noise_floor": 0.0,
        "warnings": [],
        "steps": 32,
        "steps_per_epoch": 32,
        "environment": {},
        "seconds": 1.0,
        "processor_seconds": 1.0,
    }
    ledger.finish(condition, TABLE, facts)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--conditions", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--whole", action="store_true", help="whole commands")
    parser.add_argument("--before", help="with --whole: src folder of an earlier checkout")
    asked = parser.parse_args(arguments)
    if asked.whole:
        whole(asked.rounds, asked.epochs, asked.before)
        return
    speed = speed_up(asked.rounds, asked.epochs)
    for name, row in speed.items():
        print(
            f"8 conditions, {name} round: inline {row['inline']:.2f} s, 2 processes "
            f"{row['processes']:.2f} s, speed-up {row['speed_up']:.2f} (aim {AIM_SPEED_UP})"
        )
    rows = planning(asked.conditions)
    for row in rows:
        print(
            f"{row['conditions']} conditions, {row['done']:5d} done: what is left "
            f"{row['left']:.2f} s, plan {row['plan']:.2f} s (aim {AIM_SECONDS:.0f})"
        )
    print(f"collect {rows[-1]['collect']:.1f} s, load_study {rows[-1]['load_study']:.1f} s")
    if asked.json:
        asked.json.write_text(json.dumps({"speed": speed, "planning": rows}, indent=1))


if __name__ == "__main__":
    main()
