"""What many runs, reports and pictures in one process leave behind: resident bytes and figures.

python -m tests.faults.leaks [COUNT]
"""

from __future__ import annotations

import contextlib
import gc
import json
import sys
import tempfile
import unittest.mock
import weakref
from pathlib import Path

import torch

import wingbeat as wb

PAGE = 4096


def resident():
    """Return the resident bytes of this process, after all garbage is collected."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def one_run(driver="lockstep", **options):
    """A run of a small net of twelve steps."""
    x = torch.linspace(-1, 1, 64).unsqueeze(1)
    task = wb.Task(
        model=lambda: torch.nn.Sequential(
            torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)
        ),
        loss=lambda model, batch: ((model(batch[0]) - batch[1]) ** 2).mean(),
        data=(x, 2 * x),
        optimizer=lambda params: torch.optim.SGD(params, lr=0.1),
        batch_size=16,
        steps=12,
    )
    return wb.run(task, wb.Gaussian(0.1), replicas=2, driver=driver, progress=False, **options)


def held_by_a_task(driver):
    """Return a weak reference to what only the functions of a task that was run hold."""
    x, scale = torch.linspace(-1, 1, 64).unsqueeze(1), torch.ones(1)
    task = wb.Task(
        model=lambda: torch.nn.Linear(1, 1),
        loss=lambda model, batch: (scale * (model(batch[0]) - batch[1]) ** 2).mean(),
        data=(x, 2 * x),
        optimizer=lambda params: torch.optim.SGD(params, lr=0.1 * float(scale)),
        batch_size=16,
        steps=6,
    )
    wb.run(task, wb.Gaussian(0.1), replicas=2, driver=driver, progress=False)
    return weakref.ref(scale)


def grown(action, count):
    """Return the bytes that ``action`` leaves behind each time; as many are made before.

    Garbage in circles waits for Python's collector, and the heap grows until it has once held as
    much of it as ever waits: 1.5 MB in the first hundred runs, 2.7 MB in the first hundred reports,
    nothing in the second. Those first ones are no leak.
    """
    for _ in range(count):
        action()
    before = resident()
    for _ in range(count):
        action()
    return (resident() - before) / count


def lockstep_runs(count=20):
    """Return bytes left behind by each lock-step run."""
    return grown(one_run, count)


def loop_runs(count=20):
    """Return bytes left behind by each run of the loop driver."""
    return grown(lambda: one_run("loop"), count)


def reports(count=20):
    """Return bytes left behind by each report."""
    result = one_run("loop")
    with tempfile.TemporaryDirectory() as folder:
        return grown(lambda: result.report(Path(folder) / "report.html"), count)


def figures(count=3):
    """Return how many figures pyplot keeps open after sheets were saved and drawings failed."""
    import numpy as np
    from matplotlib import pyplot as plt

    from wingbeat.deep_lyapunov.visualization.plots import create_analysis_dashboard

    before, result = len(plt.get_fignums()), one_run("loop")
    ways = np.arange(24.0).reshape(4, 2, 3)
    with tempfile.TemporaryDirectory() as folder:
        for i in range(count):
            for path in (Path(folder) / f"{i}.png", Path(folder) / "missing" / "a.png"):
                with contextlib.suppress(wb.StoreError):
                    create_analysis_dashboard(
                        ways, np.ones(3) / 3, np.ones(4), 0.0, 1.0, "undetermined", save_path=path
                    )
            with unittest.mock.patch("matplotlib.axes.Axes.set_title", side_effect=MemoryError):
                for draw in (result.plot_distance, result.plot_layers):
                    with contextlib.suppress(MemoryError):
                        draw()
    return len(plt.get_fignums()) - before


if __name__ == "__main__":
    COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    torch.set_num_threads(1)
    for ATTACK in (loop_runs, lockstep_runs, reports, figures):
        print(json.dumps({ATTACK.__name__: ATTACK(COUNT)}), flush=True)  # noqa: T201
