"""A run that cannot fit is refused before anything is computed, with both figures."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from run import tasks

import wingbeat as wb
from wingbeat.execution import needed_memory
from wingbeat.task.step import State


def test_a_run_that_cannot_fit_is_refused_before_anything_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(needed_memory, "free_memory", lambda device: 1000)
    with pytest.raises(wb.RequestError, match=r"4 copies .* need about .* KiB .* 1000 B are free"):
        wb.run(tasks.plain(), wb.Gaussian(0.01), replicas=2, out=tmp_path / "run")
    assert not (tmp_path / "run").exists(), "nothing was begun"
    with pytest.raises(wb.RequestError, match="With out=, snapshots go to the disk"):
        wb.run(tasks.plain(), wb.Gaussian(0.01), replicas=2)


def test_a_million_replicas_are_refused_without_being_made(tmp_path, monkeypatch):
    monkeypatch.setattr(needed_memory, "free_memory", lambda device: 10**8)
    with pytest.raises(wb.RequestError, match=r"1000002 copies .* GiB at the peak"):
        wb.run(tasks.plain(), wb.Gaussian(0.01), replicas=10**6, out=tmp_path / "run")


def test_memory_grows_with_copies_slots_and_kept_snapshots():
    weights = torch.zeros(1000)  # 4,000 bytes
    plain = State(weights, {}, {})
    adam = State(weights, {}, {"m": weights, "v": weights})
    assert needed_memory.needed(plain, 4) < needed_memory.needed(adam, 4)
    alone, stacked = (
        needed_memory.needed(plain, 5, stacked=kind) - needed_memory.needed(plain, 4, stacked=kind)
        for kind in (False, True)
    )
    assert 4000 <= alone <= 1.1 * 4000, "a copy's weights, and nothing else of it"
    assert stacked >= 3 * alone, "those before and after a step, and a gradient"
    longer, long = (needed_memory.needed(plain, 4, kept=n) for n in (30, 10))
    assert longer - long == pytest.approx(20 * 4 * 4000, rel=0.06)


@pytest.mark.slow
@pytest.mark.parametrize("case", [("loop", "AdamW", 8, "folder"), ("lockstep", "SGD", 2, "folder")])
def test_a_run_stays_below_its_estimate_and_near_it(case):
    """In a process of its own: a net of 8 million numbers, 34 MB, beside which torch is small."""
    words = [sys.executable, "-m", "benchmarks.peak_memory", "--width", "1024"]
    done = subprocess.run(
        [*words, "--case", json.dumps(case)], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["peak"] <= found["estimate"] <= 1.3 * found["peak"]
    if case[0] == "loop":
        assert found["peak"] <= 1.15 * found["floor"]


def test_a_container_counts_what_it_gives_up_at_once_as_free(tmp_path, monkeypatch):
    files = {"memory.max": "9000\n", "memory.current": "8000\n"}
    files["memory.stat"] = "anon 5000\ninactive_file 2000\nactive_file 500\n"
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    pair = (str(tmp_path / "memory.max"), str(tmp_path / "memory.current"))
    monkeypatch.setattr(needed_memory, "_LIMITS", (pair,))
    assert needed_memory.free_memory(torch.device("cpu")) == 3500
    (tmp_path / "memory.max").write_text("max\n")
    assert needed_memory.free_memory(torch.device("cpu")) != 3500
