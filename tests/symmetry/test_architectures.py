"""The command that makes the table of architectures: those that need nothing but torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def table(results: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.architectures", str(results), *words],
        capture_output=True, text=True, check=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


@pytest.mark.slow
def test_architectures_by_hand_are_found_and_recovered(tmp_path):
    results, page = tmp_path / "rows.jsonl", tmp_path / "page.md"
    table(results, "--only", "by hand/", "--markdown", str(page))
    rows = {row["name"]: row for row in map(json.loads, results.read_text().splitlines())}
    assert len(rows) >= 69
    assert not {name: row for name, row in rows.items() if "error" in row}
    assert not [name for name, row in rows.items() if row["recovered"] is not True]
    assert not [name for name, row in rows.items() if row["failed_check"]]
    assert max(row["residual"] for row in rows.values()) < 1e-12
    text = page.read_text()
    assert f"**{len(rows)} of {len(rows)} architectures" in text
    assert f"{len(rows)} of {len(rows)} come back" in text


@pytest.mark.slow
def test_what_was_measured_is_kept_and_the_rest_is_told(tmp_path):
    results = tmp_path / "rows.jsonl"
    row = {"name": "by hand/mlp", "groups": 0, "error": "made up"}
    results.write_text(json.dumps(row) + "\n")
    done = table(results, "--only", "by hand/mlp", "--seconds", "0")
    assert "architectures are left" in done.stdout
    assert [json.loads(line) for line in results.read_text().splitlines()] == [row]
    table(results, "--only", "by hand/mlp, tanh", "--again")
    names = [json.loads(line)["name"] for line in results.read_text().splitlines()]
    assert names == ["by hand/mlp, tanh"]
