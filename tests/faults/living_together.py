"""Runs, readers and writers in one place at the same time, each an attack that counts its ends.

Every attack takes a number of tries and returns ``{"tried", "right", "silently_wrong", "raw",
"lost"}``.

    python tests/faults/living_together.py [TRIES]
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from pathlib import Path

import torch

import wingbeat as wb
from wingbeat import locks
from wingbeat.cli.parse import load_task
from wingbeat.execution.result import write_files
from wingbeat.files import WRITING, write_bytes

ENDS = ("right", "silently_wrong", "raw", "lost")


def counted(attempt, cases):
    """Attempt each case: it says how it ended; an error that it did not expect is a loss or raw."""
    ends = dict.fromkeys(ENDS, 0)
    for case in cases:
        try:
            end = attempt(case)
        except wb.WingbeatError:
            end = "lost"
        except Exception:
            end = "raw"
        ends[end] += 1
    return {"tried": sum(ends.values()), **ends}


def small(steps=6):
    """A task of one layer."""
    x = torch.linspace(-1, 1, 32).unsqueeze(1)
    return wb.Task(
        model=lambda: torch.nn.Linear(1, 1),
        loss=lambda model, batch: ((model(batch[0]) - batch[1]) ** 2).mean(),
        data=(x, 2 * x),
        optimizer=lambda params: torch.optim.SGD(params, lr=0.1),
        batch_size=16,
        steps=steps,
    )


def go(folder, **options):
    """Run the small task in a folder."""
    options = {"replicas": 2, "driver": "loop", "progress": False, "metrics": ("l2",), **options}
    return wb.run(small(), wb.Gaussian(0.1), out=folder, **options)


def nested_runs(tries=5):
    """A run begins in ``base`` while a file is being written in ``base/a``: it is not swept away.

    One that a killed process left behind in ``base`` itself is.
    """

    def attempt(_):
        with tempfile.TemporaryDirectory() as place:
            base = Path(place)
            inner = base / "a" / "snapshots"
            inner.mkdir(parents=True)
            litter = base / f"{WRITING}left"
            litter.touch()
            rename, begun = Path.replace, []

            def slow(path, target):
                if target.name == "whole" and not begun:
                    begun.append(go(base))  # in the midst of the writing
                return rename(path, target)

            Path.replace = slow
            try:
                write_bytes(inner / "whole", b"content")
            finally:
                Path.replace = rename
            whole = (inner / "whole").read_bytes() == b"content"
            return "right" if whole and begun and not litter.exists() else "lost"

    return counted(attempt, range(tries))


def seeds_at_once(tries=5):
    """While one call with ``seeds=`` holds a folder, another is refused and changes nothing."""

    def attempt(_):
        with tempfile.TemporaryDirectory() as place:
            base = Path(place)
            go(base, seeds=(0, 1))
            before = (base / "summary.json").read_bytes()
            with locks.holding(base):
                try:
                    go(base, seeds=(0, 2))
                except wb.StoreError as error:
                    refused = "in use by another process" in str(error)
                else:
                    return "silently_wrong"
            same = (base / "summary.json").read_bytes() == before
            return (
                "right"
                if refused and same and len(go(base, seeds=(0, 1)).trajectories) == 2
                else "lost"
            )

    return counted(attempt, range(tries))


def readers(tries=20, rounds=40):
    """Read a folder again and again while two results are written into it in turn."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        results = [go(folder), go(folder, metrics=("l2", "spread"))]
        known = {r.metrics: sorted(set(r.table["metric"])) for r in results}
        done = threading.Event()

        def write():
            with locks.holding(folder):
                while not done.is_set():
                    for result in results:
                        write_files(result, folder)

        writer = threading.Thread(target=write)
        writer.start()

        def attempt(_):
            for _ in range(rounds // 10):
                found = wb.load(folder)
                if known[found.metrics] != sorted(set(found.table["metric"])):
                    return "silently_wrong"
            return "right"

        try:
            return counted(attempt, range(tries))
        finally:
            done.set()
            writer.join()


def module_names(tries=6):
    """Load tasks from files that are called as modules of Python or torch are."""
    import random

    names = ["random", "json", "copy", "torch", "tempfile", "mine"] * (tries // 6 + 1)
    source = (
        "import torch, wingbeat as wb\n"
        "x = torch.zeros(4, 1)\n"
        "def task():\n"
        "    return wb.Task(model=lambda: torch.nn.Linear(1, 1), data=(x, x), batch_size=2,\n"
        "        loss=lambda m, b: m(b[0]).mean(), steps=2,\n"
        "        optimizer=lambda p: torch.optim.SGD(p, lr=0.1))\n"
    )

    def attempt(name):
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / f"{name}.py"
            path.write_text(source)
            before = {n: sys.modules[n] for n in sys.modules if n.partition(".")[0] in names[:5]}
            task = load_task(f"{path}:task", {})
            same = all(sys.modules.get(n) is m for n, m in before.items())
            assert random.random() < 1
            return "right" if same and isinstance(task, wb.Task) else "silently_wrong"

    return counted(attempt, names[:tries])


ATTACKS = (nested_runs, seeds_at_once, readers, module_names)

if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    TRIES = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    for ATTACK in ATTACKS:
        print(json.dumps({ATTACK.__name__: ATTACK(TRIES)}), flush=True)  # noqa: T201
