"""A run that cannot fit is refused before anything is computed, with both figures."""

from __future__ import annotations

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
    each = needed_memory.needed(plain, 5) - needed_memory.needed(plain, 4)
    assert each >= 4000 * 3, "a copy's weights, and two copies of them in a snapshot"
    longer, long = (needed_memory.needed(plain, 4, kept=n) for n in (30, 10))
    assert longer - long == 20 * 4 * 4000


@pytest.mark.parametrize(
    ("copies", "slots", "kept", "measured"),
    # Peaks in models, of benchmarks/peak_memory.py, less the one snapshot that is mapped.
    [(4, 0, 0, 27.3), (8, 0, 0, 46.0), (4, 2, 0, 44.0), (4, 0, 3, 38.0), (8, 0, 0, 51.0)],
)
def test_the_estimate_is_near_the_measured_peaks(copies, slots, kept, measured):
    weights = torch.zeros(1000)
    state = State(weights, {}, {str(i): weights for i in range(slots)})
    found = needed_memory.needed(state, copies, kept) / 4000
    assert found == pytest.approx(measured, rel=0.1)


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
