"""The demonstration: what it writes, what it says, and that it repeats nothing."""

from __future__ import annotations

import math
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from wingbeat.errors import CONSTANT
from wingbeat.zoo.demo import account, demo


def scalar(value: object, low: float = math.nan, high: float = math.nan, reason: str = "") -> dict:
    return {"value": value, "low": low, "high": high, "reason": reason}


def test_the_account_gives_verdict_and_intervals() -> None:
    result = SimpleNamespace(
        condition={"task": {"name": "a net"}},
        noise_floor=0.0,
        perturbations=[{"name": "gaussian-0.01@0"}, {"name": "quiet"}],
        summary={
            "gaussian-0.01@0/convergence_ratio": scalar(43.21, 31.0, 60.0),
            "gaussian-0.01@0/lyapunov": scalar(0.0125, 0.0111, 0.0139),
            "gaussian-0.01@0/behavior": scalar("divergent"),
            "quiet/convergence_ratio": scalar(math.nan, reason=CONSTANT),
            "quiet/lyapunov": scalar(math.nan, reason=CONSTANT),
            "quiet/behavior": scalar("undetermined"),
        },
    )
    text = " ".join(" ".join(account(result)).split())
    assert "noise floor: exactly 0" in text
    assert "gaussian-0.01@0: divergent" in text
    assert "43.2 (95 % interval 31 to 60)" in text
    assert "per step: 0.0125 (95 % interval 0.0111 to 0.0139)" in text
    assert "quiet: undetermined" in text
    assert "undefined, because the quantity it is divided by is exactly zero" in text
    assert "nan" not in text


def contents(folder: Path) -> dict[str, bytes]:
    # a lock file may come and go; everything else must stay as it is
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.slow
def test_demo_analyses_both_nets_once(tmp_path: Path) -> None:
    lines: list[str] = []
    folder = demo(tmp_path / "out", lines.append)
    text = "\n".join(lines)
    for name in ("circles-dense", "digits-cnn"):
        page = folder / name / "report.html"
        assert str(page) in text
        assert page.read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html>")
        assert (folder / name / "summary.json").exists()
    # Adam at 1e-2 amplifies a 1 % nudge of the start in both nets: reference, sections 3 and 7
    assert text.count("gaussian-0.01@0: divergent") == 2
    assert text.count("noise floor: exactly 0") == 2

    before, again = contents(folder), []
    start = time.perf_counter()
    demo(folder, again.append)
    assert time.perf_counter() - start < 10
    assert again == lines
    assert contents(folder) == before
