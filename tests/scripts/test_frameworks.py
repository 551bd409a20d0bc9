"""Unchanged scripts of Trainer and Lightning: their twins are exact, their copies part."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import wingbeat as wb
from wingbeat.scripts import fork

HERE = Path(__file__).parents[2] / "examples" / "scripts"
SCRIPTS = {
    "accelerate": (  # which Hugging Face's Trainer needs
        "train_trainer.py",
        ("--resume_from_checkpoint", "{checkpoint}", "--output_dir", "{out}"),
        ("--output_dir", "{out}", "--max_steps", "10"),
        "checkpoint-10",
    ),
    "lightning": (
        "train_lightning.py",
        ("--ckpt", "{checkpoint}", "--out", "{out}"),
        ("--out", "{out}", "--steps", "10"),
        "step=10.ckpt",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("needs", SCRIPTS)
def test_an_unchanged_script(needs: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(needs) is None:
        pytest.skip(f"{needs} is not installed")
    script, words, first, checkpoint = SCRIPTS[needs]
    python = [sys.executable, str(HERE / script)]
    own = [word.replace("{out}", str(tmp_path / "first")) for word in first]
    subprocess.run([*python, *own], check=True, capture_output=True)
    origin = tmp_path / "first" / checkpoint
    result = fork(origin, wb.Gaussian(0.01), (*python, *words), tmp_path / "x", replicas=2)
    assert result.noise_floor == 0.0
    assert result.steps == (10, 20, 30)
    whole = result.table[(result.table.metric == "l2") & (result.table.layer == "")]
    ends = whole[whole.step == 30].set_index("b").value
    assert ends["null"] == 0.0
    assert (ends.drop("null") > 0).all()
    # Stopped half way, and again.
    (tmp_path / "x/runs/gaussian-0.01@0#2.done.json").unlink()
    shutil.rmtree(tmp_path / "x/runs/gaussian-0.01@0#2")
    again = fork(origin, wb.Gaussian(0.01), (*python, *words), tmp_path / "x", replicas=2)
    assert again.table.equals(result.table)
