"""Trainings of frameworks, killed half way and begun again: the bits of those left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import wingbeat as wb

SCRIPT = Path(__file__).with_name("killed_training.py")
SETUPS = [
    pytest.param("trainer:masked at random", marks=pytest.mark.slow),
    pytest.param("lightning:gan, two optimizers", marks=pytest.mark.slow),
    pytest.param("lightning:moving average", marks=pytest.mark.long),
    pytest.param("accelerate:accumulating", marks=pytest.mark.long),
]


def started(setup: str, folder: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(Path(wb.__file__).parents[1])}
    words = [sys.executable, str(SCRIPT), setup, str(folder)]
    folder.mkdir(exist_ok=True)
    with (folder / "said").open("wb") as said:
        return subprocess.Popen(words, env=environment, stderr=said)


def ended(setup: str, folder: Path) -> None:
    assert started(setup, folder).wait() == 0, (folder / "said").read_text()[-2000:]


@pytest.mark.parametrize("setup", SETUPS)
def test_killed_and_begun_again(setup: str, tmp_path: Path) -> None:
    pytest.importorskip({"trainer": "accelerate"}.get(way := setup.partition(":")[0], way))
    ended(setup, tmp_path / "whole")
    run = started(setup, tmp_path / "killed")
    # The twin has recorded where it forks, and once more.
    while len(list((tmp_path / "killed" / "x").rglob("null/**/*.safetensors"))) < 2:
        assert run.poll() is None
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not list((tmp_path / "killed").rglob("summary.json")), "it was over before the kill"
    ended(setup, tmp_path / "killed")
    whole, again = (wb.load(tmp_path / name / "x") for name in ("whole", "killed"))
    assert again.table.equals(whole.table)
    assert again.noise_floor == whole.noise_floor == 0.0
    assert again.steps == whole.steps
