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
from wingbeat.execution.needed_memory import Form
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
    with pytest.raises(wb.RequestError, match=r"1000002 copies .* [GM]iB at the peak"):
        wb.run(tasks.plain(), wb.Gaussian(0.01), replicas=10**6, out=tmp_path / "run")


def test_memory_grows_with_copies_slots_and_kept_snapshots(monkeypatch):
    weights = torch.zeros(1000)  # 4,000 bytes
    plain = State(weights, {}, {})
    adam = State(weights, {}, {"m": weights, "v": weights})
    assert needed_memory.needed(plain, 4) < needed_memory.needed(adam, 4)
    monkeypatch.setattr(needed_memory, "LARGE", -1)  # else all next states lie beside the old ones
    forms = [Form(), Form(stacked=True), Form(stacked=True, spared=False)]
    alone, spared, whole = (
        needed_memory.needed(plain, 5, form=form) - needed_memory.needed(plain, 4, form=form)
        for form in forms
    )
    assert 4000 <= alone <= 1.1 * 4000, "a copy's weights, and nothing else of it"
    assert 8000 <= spared <= 1.1 * 8000, "a gradient too"
    assert whole >= 5 * alone, "those before and after a step, and what is made on the way"
    longer, long = (needed_memory.needed(plain, 4, kept=n) for n in (30, 10))
    assert longer - long == pytest.approx(20 * 4 * 4000, rel=0.11)


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["loop", "lockstep"])
@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_a_run_stays_below_its_estimate_and_near_it(driver, optimizer):
    """In a process of its own: a net of 8 million numbers, 34 MB, beside which torch is small."""
    case = (driver, optimizer, 2, "folder")
    words = [sys.executable, "-m", "benchmarks.peak_memory", "--width", "1024"]
    done = subprocess.run(
        [*words, "--case", json.dumps(case)], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["peak"] <= found["estimate"] <= 1.3 * found["peak"]
    most = {"SGD": 1.35, "AdamW": 1.15}[optimizer] if driver == "lockstep" else 1.15
    assert found["peak"] <= most * found["floor"]


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


def test_what_an_earlier_run_gave_back_is_free_on_a_card(monkeypatch) -> None:
    """Was: refused, since torch keeps memory that the driver then calls taken."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 80_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 70_000)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 4000)
    assert needed_memory.free_memory(torch.device("cuda")) == 67_000
