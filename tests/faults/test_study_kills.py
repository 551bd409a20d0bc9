"""kill -9 of a study's main process, of its workers, of a Ray node: the same table in the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def script(name: str, *words: object, seconds: float) -> str:
    """Run a script in a session of its own, with a time bound; nothing of it stays behind."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / name), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        said, complaint = process.communicate(timeout=seconds)
    finally:
        for left in in_session(process.pid):
            os.kill(left, signal.SIGKILL)
    assert process.returncode == 0, complaint[-4000:]
    return said


def in_session(leader: int) -> list[int]:
    """Return the living processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended while we looked
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.mark.long
def test_a_few_kills_of_workers(tmp_path: Path) -> None:
    said = script("study_killing.py", tmp_path, 0, "worker", 3, seconds=600)
    assert json.loads(said)["kills"] == 3


@pytest.mark.long
@pytest.mark.parametrize(("kind", "kills"), [("inline", 30), ("processes", 30), ("worker", 30)])
def test_many_kills(tmp_path: Path, kind: str, kills: int) -> None:
    said = script("study_killing.py", tmp_path, 1, kind, kills, seconds=1200)
    assert json.loads(said)["kills"] == kills


@pytest.mark.long
def test_the_loss_of_a_ray_node(tmp_path: Path) -> None:
    """Twelve conditions on two nodes, one of which is removed in the middle."""
    assert "1 nodes lost" in script("ray_script.py", "node_loss", tmp_path, 0, 1, seconds=600)


@pytest.mark.long
def test_the_loss_of_many_ray_nodes(tmp_path: Path) -> None:
    said = script("ray_script.py", "node_loss", tmp_path, 1, 10, seconds=1200)
    assert "10 nodes lost" in said


@pytest.mark.long
def test_ray_conforms() -> None:
    """The suite for runners, on a cluster of one node in a process of its own."""
    script("ray_script.py", "conformance", seconds=600)
