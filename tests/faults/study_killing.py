"""Kill a study, or a worker of it, at random moments until it ends; a script of its own.

Children are forked from one process that has imported torch and never used more than one
thread: an import takes seconds, and dozens of kills need as many processes.

    python study_killing.py FOLDER SEED KIND KILLS

KIND is "inline" or "processes" (the main process is killed) or "worker" (a worker is).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

torch.set_num_threads(1)
sys.path[:0] = [str(Path(__file__).parents[1] / "study")]

from wingbeat.study.condition import Condition  # noqa: E402
from wingbeat.study.grid import cross  # noqa: E402
from wingbeat.study.ledger import Ledger  # noqa: E402
from wingbeat.study.run import run_study  # noqa: E402
from wingbeat.study.runner import InlineRunner, ProcessRunner  # noqa: E402

GRID = cross(
    Condition("study_tasks:slow_line", {"seconds": 0.1}, replicas=2, metrics=("l2",)),
    {"arguments.lr": [0.05, 0.1, 0.2], "seed": [0, 1]},
)


def processes():
    runner = ProcessRunner(2)
    runner._context = multiprocessing.get_context("fork")
    return runner


def started(out, kind, tries):
    """Fork a process that runs the study."""
    child = os.fork()
    if child:
        return child
    os.setpgid(0, 0)
    code = 1
    try:
        found = run_study(
            GRID, out, InlineRunner() if kind == "inline" else processes(), tries=tries
        )
        code = 0 if not found.failures else 2
    finally:
        os._exit(code)


def stamps(out):
    """Return when each finished condition was finished."""
    return {p.parent.name: p.stat().st_mtime_ns for p in out.glob("records/*/record.json")}


def children(pid):
    try:
        return [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def kill(pid):
    """Kill a process; False if it had ended already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def kill_main(out, kind, kills, draw, duration):
    """Start the study again and again, killed each time; what was done stays as it is."""
    hits = 0
    while hits < kills:
        before = stamps(out)
        child = started(out, kind, tries=2)
        share = len(Ledger(out).left(GRID)) / len(GRID)
        time.sleep(draw.uniform(0.02, 0.9) * duration * share)
        hits += kill(child)
        _, status = os.waitpid(child, 0)
        after = stamps(out)
        assert {k: after[k] for k in before} == before, "a finished condition was touched"
        if os.WIFEXITED(status):
            return hits - 1  # it was done before the kill came
    return hits


def kill_workers(out, kills, draw, duration):
    """Kill one of the workers now and then; the study goes on."""
    child, hits = started(out, "worker", tries=kills + 2), 0
    while hits < kills:
        time.sleep(draw.uniform(0.02, 0.5) * duration)
        ended, _ = os.waitpid(child, os.WNOHANG)
        if ended:
            return hits
        alive = children(child)
        hits += bool(alive) and kill(draw.choice(alive))
    _, status = os.waitpid(child, 0)
    assert os.WEXITSTATUS(status) == 0
    return hits


def main(folder, seed, kind, kills):
    folder, draw, kills = Path(folder), random.Random(int(seed)), int(kills)
    assert run_study(GRID, folder / "whole").failures == ()
    begin = time.perf_counter()  # of the second: the first also loads what is loaded once
    run_study(GRID, folder / "again")
    duration = time.perf_counter() - begin
    expected = (folder / "whole" / "table.parquet").read_bytes()
    hits, studies = 0, 0
    while hits < kills:
        assert studies <= kills + 3, "the kills do not hit"
        out, studies = folder / f"study-{studies}", studies + 1
        if kind == "worker":
            hits += kill_workers(out, min(4, kills - hits), draw, duration)
        else:
            hits += kill_main(out, kind, min(6, kills - hits), draw, duration)
        found = run_study(GRID, out)
        assert found.failures == ()
        assert (out / "table.parquet").read_bytes() == expected
        assert Ledger(out).done() == {c.key for c in GRID}
        ended = [e["key"] for e in Ledger(out).events() if e["event"] == "done"]
        assert max(map(ended.count, ended)) <= 2, "a kill between record and journal repeats a line"
    print(json.dumps({"kills": hits, "studies": studies}))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
