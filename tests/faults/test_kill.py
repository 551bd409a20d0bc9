"""Kill a run at any moment, start it again: the same bits as without the kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from run.tasks import contents

SCRIPT = Path(__file__).with_name("killing.py")


def killed(folder, driver, optimizer, seed, *plan):
    """Kill and start again as planned, then compare every file with an uninterrupted run."""
    words = [str(x) for x in (SCRIPT, folder, driver, optimizer, seed, *plan)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["kills"] == len(plan)
    expected = contents(folder / "whole")
    assert {"table.parquet", "summary.json", "snapshots/000009.safetensors"} <= set(expected)
    for name in said["folders"]:
        found = contents(folder / name)
        assert sorted(found) == sorted(expected), "no file is missing and none is left over"
        different = [path for path in expected if found[path] != expected[path]]
        assert not different, f"after kills these files differ: {different}"


def test_loop_is_killed_while_it_trains_writes_and_measures(tmp_path):
    plan = ["time", "write", "time", "write", "write", "time", "measure", "write_files"]
    killed(tmp_path, "loop", "adam", 0, *plan)


@pytest.mark.slow
def test_lock_step_is_killed_while_it_trains(tmp_path):
    killed(tmp_path, "lockstep", "momentum", 1, "time", "write", "time")


@pytest.mark.long
@pytest.mark.parametrize(
    ("how", "driver", "optimizer"),
    [
        ("time", "loop", "adam"),
        ("write", "loop", "momentum"),
        ("time", "lockstep", "momentum"),
        ("write", "lockstep", "adam"),
    ],
)
def test_many_kills(tmp_path, driver, optimizer, how):
    killed(tmp_path, driver, optimizer, 2, *[how] * 20)
