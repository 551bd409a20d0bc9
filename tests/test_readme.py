"""What the README shows runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def own_model() -> str:
    """Return the block that goes from a model of one's own to a report."""
    blocks = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if "wb.Task(" in block]
    return str(block)


def test_own_model_to_report_takes_eight_lines() -> None:
    lines = [line for line in own_model().splitlines() if line.strip()]
    torchs_own = ["import torch", "from torch import nn"]
    assert lines[:2] == torchs_own
    assert len(lines[2:]) <= 8


def test_the_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(320, 20, generator=draw)
    labels = inputs[:, :3].argmax(1)
    names: dict[str, Any] = {"x": inputs[:256], "y": labels[:256]}
    names["test"] = (inputs[256:], labels[256:])
    exec(compile(own_model(), "README.md", "exec"), names)
    result = names["result"]
    assert result.noise_floor == 0.0
    assert re.match(r"(di|con)vergent|undetermined", str(result))
    assert {"accuracy", "disagreement"} <= set(result.table["metric"])
    assert (tmp_path / "report.html").stat().st_size > 0
    assert (tmp_path / "runs" / "own").is_dir()
