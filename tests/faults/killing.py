"""Run a task in forked children, kill them, start them again; a script of its own.

Importing torch takes seconds and forking it is cheap, but only from a process that never
used more than one thread: hence the fresh interpreter.

    python killing.py FOLDER DRIVER OPTIMIZER SEED HOW HOW …
"""

from __future__ import annotations

import functools
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

torch.set_num_threads(1)
sys.path.insert(0, str(Path(__file__).parents[1]))

from run import tasks  # noqa: E402

import wingbeat as wb  # noqa: E402

STAGES = ("before_sync", "after_sync", "after_rename")


def job(folder, driver, optimizer, steps=24, every=4):
    """The run that is killed: dropout, BatchNorm, momentum or Adam, forks at two steps."""
    return wb.run(
        tasks.noisy(optimizer=getattr(tasks, optimizer), steps=steps),
        tasks.two_forks(),
        replicas=2,
        record_every=every,
        driver=driver,
        out=folder,
        checkpoint_seconds=0.0,
    )


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_write(count, stage):
    """Kill this process at its ``count``-th write of a file, at one of the STAGES."""
    seen, sync, rename = 0, os.fsync, Path.replace

    def counted_sync(descriptor):
        nonlocal seen
        seen += 1
        if seen == count and stage == "before_sync":
            die()
        sync(descriptor)
        if seen == count and stage == "after_sync":
            die()

    def counted_rename(path, target):
        out = rename(path, target)
        if seen == count and stage == "after_rename":
            die()
        return out

    os.fsync, Path.replace = counted_sync, counted_rename


def die_before(name):
    """Kill this process when a session comes to a function."""
    home = "held" if name == "write_files" else "session"
    setattr(sys.modules[f"wingbeat.execution.{home}"], name, lambda *_, **__: die())


def forked(prepare, run, seconds=None):
    """Run in a child; kill it after some seconds. True if it came to its end."""
    child = os.fork()
    if child == 0:
        prepare()
        code = 1
        try:
            run()
            code = 0
        finally:
            os._exit(code)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit(f"a child failed with exit code {os.WEXITSTATUS(status)}")
    return os.WIFEXITED(status)


def nothing():
    """Prepare nothing."""


def main(folder, driver, optimizer, seed, *plan):
    folder, draw = Path(folder), random.Random(int(seed))
    job(folder / "whole", driver, optimizer)
    start = time.perf_counter()
    forked(nothing, lambda: job(folder / "run-0", driver, optimizer))
    duration, folders, kills = time.perf_counter() - start, ["run-0"], 0
    waiting = list(plan)
    while waiting:
        folders.append(f"run-{len(folders)}")
        hit = _one_run(folder / folders[-1], driver, optimizer, waiting, duration, draw)
        kills, duration = kills + hit, 0.7 * duration  # aim earlier once a kill came too late
        assert len(folders) <= len(plan) + 2, "the kills do not hit"
    print(json.dumps({"kills": kills, "folders": folders}))  # noqa: T201


def _one_run(folder, driver, optimizer, waiting, duration, draw):
    """Start a run again and again, killed as planned, until it ends; returns the kills."""
    kills, ended = 0, False
    while not ended:
        prepare, seconds = nothing, None
        if waiting and waiting[0] == "time":
            seconds = draw.uniform(0.05, 0.9) * duration
        elif waiting and waiting[0] == "write":
            count, stage = draw.randint(2, 12), draw.choice(STAGES)
            prepare = functools.partial(die_at_write, count, stage)
        elif waiting:
            prepare = functools.partial(die_before, waiting[0])
        ended = forked(prepare, lambda: job(folder, driver, optimizer), seconds)
        if not ended:
            kills += 1
            waiting.pop(0)
    return kills


if __name__ == "__main__":
    main(*sys.argv[1:])
