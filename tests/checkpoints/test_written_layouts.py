"""Checkpoints written by the tools themselves: the distance is that of the weights in memory.

``write_layouts.py`` writes what its environment allows; WINGBEAT_LAYOUTS_PYTHON names the
interpreter of another environment, with lightning, accelerate, peft and timm beside torch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wingbeat.checkpoints import compare
from wingbeat.checkpoints.pattern import find_files

WRITER = Path(__file__).with_name("write_layouts.py")
BY_TORCH = 12
"""Layouts that torch and safetensors alone write."""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Paths and known distance of every layout that could be written."""
    python = os.environ.get("WINGBEAT_LAYOUTS_PYTHON", sys.executable)
    folder = tmp_path_factory.mktemp("layouts")
    done = subprocess.run(
        [python, str(WRITER), str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.partition("LAYOUT ")[2] for line in done.stdout.splitlines() if "LAYOUT " in line]
    return {row["name"]: row for row in map(json.loads, lines)}


@pytest.mark.slow
def test_the_distance_of_every_layout_is_that_of_its_weights(written):
    assert len(written) >= BY_TORCH
    wrong = {}
    for name, row in written.items():
        assert row["l2"] > 0.0, name
        found = compare(row["paths"])
        if not np.isclose(found.l2[1], row["l2"], rtol=1e-9, atol=0):
            wrong[name] = (float(found.l2[1]), row["l2"])
    assert not wrong


@pytest.mark.slow
def test_ranks_of_torch_are_put_together_whichever_way_they_cut(written):
    for way in ("rows", "columns"):
        row = written[f"torch.distributed.checkpoint: two ranks, {way}"]
        folder = Path(row["paths"][0])
        assert len(list(folder.glob("*.distcp"))) == 2
        plain = written["torch: state dict"]["paths"][0]
        assert compare([plain, folder]).l2[1] == 0.0


@pytest.mark.slow
def test_the_step_of_a_file_that_lightning_names_is_its_epoch(written):
    row = written.get("Lightning: ModelCheckpoint")
    if row is None:
        pytest.skip("lightning is not in the environment of the layouts")
    found = find_files(str(Path(row["paths"][0]).parent / "*.ckpt"))
    assert found.steps == (0,)
    assert "epochs" in found.read
