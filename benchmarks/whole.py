"""What a user waits for: whole processes beside deep-lyapunov 0.1.2, as ratios of pairs.

Each job is a process of its own from import to result, one thread; wingbeat with its defaults:
recording, choosing and proving are in its time. Rounds alternate between the candidates, and each
ratio is the median of the rounds' own ratios, so that a load that changes meanwhile hits both.
"warm" rows are the second analysis of one process. ``--before`` names the ``src`` of an earlier
checkout of wingbeat, which is then measured in the same rounds. Both are copied and compiled first,
as an installation is: no round compiles source.

    python -m benchmarks.whole [--rounds 3] [--before FOLDER] [--only TEXT] [--json FILE]
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import wingbeat

_OURS = """
import time, torch
torch.set_num_threads(1)
import wingbeat as wb
from dataclasses import replace
from wingbeat.tasks.dense import circles_task
def analyse():
    task = replace(circles_task(), eval_data=None)
    wb.run(task, wb.Gaussian(0.01), replicas={copies}, record_every=task.steps_per_epoch{more})
"""
_THEIRS = """
import time, torch
torch.set_num_threads(1)
from deep_lyapunov import StabilityAnalyzer
from torch.utils.data import DataLoader, TensorDataset
from wingbeat.tasks.dense import circles_task
def train(model, batches, epochs):
    optimizer = task.optimizer(model.parameters())
    model.train()
    for _ in range(epochs):
        for batch in batches:
            optimizer.zero_grad()
            loss = task.loss(model, batch)
            loss.backward()
            optimizer.step()
    return {{"loss": float(loss)}}
def analyse():
    global task
    task = circles_task()
    loader = DataLoader(TensorDataset(*task.data), batch_size=task.batch_size, shuffle=True)
    torch.manual_seed(task.seed)
    StabilityAnalyzer(task.model(), perturbation_scale=0.01, n_trajectories={copies} + 1,
                      verbose=False).analyze(train, loader, n_epochs=10)
"""
_ONCE = "analyse()\n"
_WARM = "analyse()\nbegin = time.process_time()\nanalyse()\nprint(time.process_time() - begin)\n"


@dataclass(frozen=True)
class Work:
    """One row: two programs whose times are compared; ``prints`` where they time themselves."""

    name: str
    ours: str
    other: str
    goal: str
    prints: bool = False


def _circles(trajectories: int, end: str, goal: str, name: str) -> Work:
    copies = trajectories - 1
    ours = _OURS.format(copies=copies, more="") + end
    theirs = _THEIRS.format(copies=copies) + end
    return Work(f"{name}, {trajectories} trajectories", ours, theirs, goal, end == _WARM)


def _seeds() -> Work:
    together = _OURS.format(copies=4, more=", seeds=range(5)") + _WARM
    single = _OURS.format(copies=4, more="") + _WARM
    return Work("5 base seeds warm, against one seed", together, single, "0.6 x", prints=True)


WORKS = (
    _circles(5, _ONCE, "3 x", "circles, whole process"),
    _circles(50, _ONCE, "10 x", "circles, whole process"),
    _circles(5, _WARM, "10 x", "default run in a warm process"),
    _circles(50, _WARM, "40 x", "default run in a warm process"),
    _seeds(),
    Work(
        "import wingbeat (Task, run), against import torch",
        "import torch, wingbeat as wb\nwb.Task, wb.run\n",
        "import torch\n",
        "0.87 x",
    ),
    Work(
        "the list of commands (--help), against import torch",
        "from wingbeat.cli import main\nimport sys\nsys.argv = ['wingbeat', '--help']\nmain()\n",
        "import torch\n",
        "2.5 x",
    ),
)


def as_installed(source: Path, place: Path) -> str:
    """Copy a package and compile it; returns where."""
    shutil.copytree(source / "wingbeat", place / "wingbeat")
    compileall.compile_dir(place, quiet=1)
    return str(place)


def seconds(program: str, prints: bool, source: str) -> float:
    """Return the processor seconds of a program, of all of it or as it prints them."""
    one = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    env = {**os.environ, **one, "PYTHONPATH": source}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, env=env, capture_output=True, text=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if prints:
        return float(done.stdout.split()[-1])
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(work: Work, rounds: int, source: str, before: str | None) -> dict[str, Any]:
    """Return the median ratios other / ours of alternating rounds, and the seconds themselves."""
    rows: dict[str, list[float]] = {"other": [], "now": [], "before": []}
    for _ in range(rounds):
        rows["other"].append(seconds(work.other, work.prints, source))
        rows["now"].append(seconds(work.ours, work.prints, source))
        if before:
            rows["before"].append(seconds(work.ours, work.prints, before))

    def ratio(name: str) -> float | None:
        pairs = list(zip(rows["other"], rows[name], strict=False))
        return round(statistics.median(a / b for a, b in pairs), 2) if pairs else None

    middle = {k: round(statistics.median(v), 2) for k, v in rows.items() if v}
    return {
        "work": work.name,
        "before": ratio("before"),
        "now": ratio("now"),
        "goal": work.goal,
        "processor_seconds": middle,
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", help="src folder of an earlier checkout")
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        begin, place = time.perf_counter(), Path(folder)
        source = as_installed(Path(wingbeat.__file__).parents[1], place / "now")
        before = as_installed(Path(options.before), place / "before") if options.before else None
        found = table(options, source, before)
    print(f"{options.rounds} rounds, {time.perf_counter() - begin:.0f} s")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


def table(options: argparse.Namespace, source: str, before: str | None) -> list[dict[str, Any]]:
    """Measure and print the rows that are asked for."""
    found = []
    print("| work | before | now | goal | processor seconds (other, now, before) |")
    print("| --- | --- | --- | --- | --- |")
    for work in WORKS:
        if options.only in work.name:
            row = measure(work, options.rounds, source, before)
            found.append(row)
            words = ["–" if row[k] is None else f"{row[k]} x" for k in ("before", "now")]
            times = ", ".join(str(t) for t in row["processor_seconds"].values())
            print(f"| {row['work']} | {' | '.join(words)} | {row['goal']} | {times} |", flush=True)
    return found


if __name__ == "__main__":
    main()
