"""Large replicas are written from where they lie and read when asked for: the bits stay."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from run import tasks

import wingbeat as wb
from wingbeat.execution import session
from wingbeat.replicas import fork, replicas, snapshot, training_run
from wingbeat.replicas.drivers import large_net, marks, selection, sparing
from wingbeat.task.step import State
from wingbeat.trajectory import store
from wingbeat.trajectory.store import FolderStore


@pytest.fixture
def all_are_large(monkeypatch):
    for module in (session, snapshot, fork, replicas, training_run, marks, sparing, store):
        monkeypatch.setattr(module, "LARGE", -1)
    monkeypatch.setattr(large_net, "_LARGEST", 0)


def run(folder, driver, **options):
    return wb.run(
        tasks.plain(),
        [wb.Gaussian(0.01), wb.SingleWeight(0.1, at=3)],
        replicas=2,
        record_every=2,
        driver=driver,
        out=folder,
        progress=False,
        **options,
    )


def files(folder):
    found = {p.name: p.read_bytes() for p in (folder / "snapshots").iterdir()}
    return {**found, "table": (folder / "table.parquet").read_bytes()}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    for driver in ("loop", "lockstep"):
        run(folder / driver, driver)
    return folder


@pytest.mark.parametrize("driver", ["loop", "lockstep"])
@pytest.mark.usefixtures("all_are_large")
def test_large_replicas_give_the_files_of_small_ones(driver, small, tmp_path):
    run(tmp_path / "large", driver)
    assert files(tmp_path / "large") == files(small / driver)
    kept = run(None, driver)
    pd.testing.assert_frame_equal(kept.table, wb.load(small / driver).table)
    assert all(type(s.params) is dict for s in kept.trajectory), "in memory they are kept whole"


@pytest.mark.usefixtures("all_are_large")
def test_a_stopped_run_goes_on_to_the_same_files(small, tmp_path, monkeypatch):
    real = FolderStore.append

    def stopped(own, moment):
        if moment.step == 4:
            raise KeyboardInterrupt
        real(own, moment)

    monkeypatch.setattr(FolderStore, "append", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", "loop", checkpoint_seconds=0.0)
    monkeypatch.setattr(FolderStore, "append", real)
    run(tmp_path / "run", "loop")
    assert files(tmp_path / "run") == files(small / "loop")


def test_auto_takes_the_loop_for_a_large_net_without_a_trial(monkeypatch):
    monkeypatch.setattr(large_net, "_LARGEST", 0)
    result = wb.run(tasks.plain(), wb.Gaussian(0.01), replicas=2, progress=False)
    assert result.environment["driver"] == "loop"
    assert result.environment["driver_reason"] == large_net.REASON
    assert not result.environment["driver_timings_ms"]


class Changing:
    """Replicas whose first update is another one each time."""

    def __init__(self, by):
        self.parts, self.by, self.calls = [None], by, 0

    def step(self, part, index):
        self.calls += 1
        return State(torch.ones(1, 3) + self.by * self.calls, {}, {}), torch.zeros(1)


@pytest.mark.parametrize("large", [True, False])
def test_an_update_that_is_another_one_each_time_is_noticed(large, monkeypatch):
    monkeypatch.setattr(marks, "LARGE", -1 if large else 1 << 26)
    assert large_net.repeats(Changing(by=0))
    assert not large_net.repeats(Changing(by=1e-6))


def test_hidden_state_of_a_large_net_is_warned_of(monkeypatch):
    monkeypatch.setattr(large_net, "_LARGEST", 0)
    monkeypatch.setattr(selection, "repeats", lambda replicas: False)
    result = wb.run(tasks.plain(), wb.Gaussian(0.01), replicas=2, progress=False)
    assert any("keeps state outside" in words for words in result.environment["warnings"])
