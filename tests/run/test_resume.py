"""The same request on the same folder goes on; another request or execution is refused."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace

import pytest
import torch
from run import tasks
from run.tasks import contents, noisy, plain
from torch import nn

import wingbeat as wb
from wingbeat.replicas.drivers.loop import Loop, ObjectLoop
from wingbeat.replicas.replicas import Replicas
from wingbeat.trajectory.store import FolderStore


def go(task, folder, perturbations=None, **options):
    options = {"replicas": 2, "record_every": 10, "driver": "loop", **options}
    forks = [wb.Gaussian(0.01)] if perturbations is None else perturbations
    return wb.run(task, forks, out=folder, **options)


@pytest.fixture
def no_training(monkeypatch):
    """Make every way to train raise from when it is called."""

    def forbid():
        def trained(*_, **__):
            raise AssertionError("it trained")

        monkeypatch.setattr(Replicas, "advance", trained)
        monkeypatch.setattr(Loop, "__call__", trained)
        monkeypatch.setattr(ObjectLoop, "__call__", trained)

    return forbid


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder in which a run was interrupted after a few steps."""
    folder = tmp_path_factory.mktemp("begun") / "run"
    data = Failing(20)
    with pytest.raises(wb.RunError):
        go(plain(data=data, steps=20), folder, checkpoint_seconds=0.0)
    return folder, data


class Failing:
    """A data set that fails once it has been asked too often."""

    def __init__(self, steps, samples=40, batch=16):
        self.samples, self.asked = samples, 0
        self.allowed = samples + 8 * batch  # the description reads every sample once

    def __len__(self):
        return self.samples

    def __getitem__(self, index):
        self.asked += 1
        if self.asked > self.allowed:
            raise OSError(f"disk gone at sample {index}")
        x, y = tasks.points()
        return x[index], y[index]


class Forgetful(nn.Module):
    def __init__(self, rate=0.0, slope=1.0):
        super().__init__()
        self.inner, self.drop, self.slope = nn.Linear(4, 3), nn.Dropout(rate), slope

    def forward(self, x):
        return self.drop(self.inner(x)) * self.slope


class Squared(Forgetful):
    def forward(self, x):
        return self.drop(self.inner(x)) ** 2


class Weighted:
    """A loss that is an object with a setting."""

    def __init__(self, weight):
        self.weight = weight

    def __call__(self, model, batch):
        return self.weight * tasks.entropy(model, batch)


def smoothed(smoothing):
    criterion = nn.CrossEntropyLoss(label_smoothing=smoothing)
    return lambda model, batch: criterion(model(batch[0]), batch[1])


def halves(step):
    return 0.5**step


CHANGES = {
    "steps": ({"steps": 21}, {}, "task.steps: there 20, now 21"),
    "seed": ({"seed": 1}, {}, "seed"),
    "batch": ({"batch_size": 15}, {}, "task.batch_size: there 16, now 15"),
    "rate": ({"optimizer": lambda p: torch.optim.SGD(p, lr=0.2)}, {}, "lr.*there 0.1, now 0.2"),
    "optimizer": ({"optimizer": tasks.adam}, {}, "optimizer.class: there 'SGD', now 'Adam'"),
    "loss": ({"loss": lambda m, b: 2 * tasks.entropy(m, b)}, {}, "task.loss"),
    "data": ({"data": tasks.points(70, 5)}, {}, "task.data"),
    "model": ({"model": tasks.noisy_net}, {}, "task.model"),
    "schedule": ({"schedule": halves}, {}, "task.schedule"),
    "clip": ({"clip_norm": 1.0}, {}, "task.clip_norm: there None, now 1.0"),
    "sampling": ({"sampling": "sequential"}, {}, "task.sampling"),
    "drop_last": ({"drop_last": True}, {}, "task.drop_last"),
    "scale": ({}, {"perturbations": [wb.Gaussian(0.02)]}, r"perturbations\[0\]"),
    "at": ({}, {"perturbations": [wb.Gaussian(0.01, at=1)]}, r"perturbations\[0\].at"),
    "perturbation_seed": ({}, {"perturbations": [wb.Gaussian(0.01, seed=1)]}, "seed"),
    "more": ({}, {"perturbations": [wb.Gaussian(0.01), wb.Ulp(1)]}, "perturbations"),
    "replicas": ({}, {"replicas": 3}, "replicas: there 2, now 3"),
    "record": ({}, {"record_every": 5}, "record_every: there 10, now 5"),
    "dtype": ({}, {"dtype": torch.float64}, "dtype: there 'float32', now 'float64'"),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    go(plain(optimizer=tasks.plain_sgd), folder)
    return folder


@pytest.mark.parametrize("name", CHANGES)
def test_another_request_is_refused_and_the_field_named(finished, name):
    changed, options, named = CHANGES[name]
    before = contents(finished)
    task = plain(**{"optimizer": tasks.plain_sgd, **changed})
    with pytest.raises(wb.StoreError, match=named) as caught:
        go(task, finished, **options)
    assert str(finished) in str(caught.value)
    assert contents(finished) == before


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ({"model": lambda: Forgetful(0.0)}, {"model": lambda: Forgetful(0.3)}),
        ({"model": Forgetful}, {"model": lambda: Forgetful(slope=2.0)}),
        ({"model": Forgetful}, {"model": Squared}),
        ({"loss": Weighted(1.0)}, {"loss": Weighted(2.0)}),
        ({"loss": smoothed(0.0)}, {"loss": smoothed(0.1)}),
    ],
    ids=["dropout rate", "attribute", "forward", "object loss", "module in a closure"],
)
def test_settings_that_no_weight_shows_count_too(tmp_path, then, now):
    go(plain(steps=2, **then), tmp_path)
    assert go(plain(steps=2, **then), tmp_path).folder == tmp_path
    with pytest.raises(wb.StoreError, match="another request"):
        go(plain(steps=2, **now), tmp_path)


def test_equal_requests_from_other_objects_are_equal(tmp_path):
    go(plain(steps=2, model=lambda: Forgetful(0.1), loss=Weighted(1.0)), tmp_path)
    again = go(plain(steps=2, model=lambda: Forgetful(0.1), loss=Weighted(1.0)), tmp_path)
    assert again.folder == tmp_path


def test_a_finished_folder_returns_at_once(finished, no_training):
    before, stamps = contents(finished), [p.stat().st_mtime_ns for p in finished.rglob("*.*")]
    first = wb.load(finished)
    no_training()
    again = go(plain(optimizer=tasks.plain_sgd), finished)
    assert contents(finished) == before
    assert [p.stat().st_mtime_ns for p in finished.rglob("*.*")] == stamps
    assert again.table.equals(first.table)
    assert again.summary == first.summary


def test_other_metrics_are_measured_without_training(tmp_path, no_training):
    task = noisy(steps=6)
    whole = go(task, tmp_path / "whole", metrics=("spread", "accuracy", "eval_loss"))
    go(task, tmp_path / "run", metrics=("l2",))
    no_training()
    options = {"metrics": ("spread", "accuracy", "eval_loss"), "remeasure": "replace"}
    again = go(task, tmp_path / "run", **options)
    assert {"spread", "accuracy", "eval_loss"} <= set(again.table.metric)
    assert "l2" not in set(again.table.metric)
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")
    assert again.table.equals(whole.table)


def test_another_thread_count_is_refused(begun, monkeypatch):
    folder, data = begun
    data.allowed = 10**9
    before = contents(folder)
    torch.set_num_threads(2)
    with pytest.raises(wb.StoreError, match="threads = 1, and this process has 2") as caught:
        go(plain(data=data, steps=20), folder)
    assert str(folder) in str(caught.value)
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("field", "was"), [("torch", "1.0"), ("cpu_capability", "none"), ("device_name", "other")]
)
def test_another_machine_or_version_is_refused(begun, field, was):
    folder, data = begun
    data.allowed = 10**9
    store = FolderStore(folder)
    facts = store.read_json("environment.json")
    store.write_json("environment.json", {**facts, field: was})
    with pytest.raises(wb.StoreError, match=f"begun with {field} = '{was}'"):
        go(plain(data=data, steps=20), folder)
    store.write_json("environment.json", facts)


def test_another_driver_is_refused(begun, finished):
    folder, data = begun
    data.allowed = 10**9
    for where, task in (
        (folder, plain(data=data, steps=20)),
        (finished, plain(optimizer=tasks.plain_sgd)),
    ):
        with pytest.raises(wb.StoreError, match=r"driver = 'loop'.*'lockstep'"):
            go(task, where, driver="lockstep")


def test_auto_goes_on_with_what_was_chosen(finished):
    result = go(plain(optimizer=tasks.plain_sgd), finished, driver="auto")
    assert result.environment["driver"] == "loop"


def _held(folder, locked, release):
    store = FolderStore(folder, create=True)
    store.lock()
    locked.set()
    release.wait(30)
    os._exit(0)


def test_a_second_process_is_refused(tmp_path, no_training):
    context = multiprocessing.get_context("fork")
    locked, release = context.Event(), context.Event()
    other = context.Process(target=_held, args=(tmp_path, locked, release))
    other.start()
    assert locked.wait(30)
    try:
        with pytest.raises(wb.StoreError, match="in use by another process") as caught:
            go(plain(), tmp_path)
        assert str(tmp_path) in str(caught.value)
        assert not list((tmp_path / "snapshots").iterdir())
    finally:
        release.set()
        other.join()
    assert go(plain(steps=2), tmp_path / "own").noise_floor == 0, "the lock went with its holder"


def test_the_folder_is_held_until_the_table_is_written(tmp_path, monkeypatch):
    seen = []

    def written(result, folder, codes):
        with pytest.raises(wb.StoreError, match="in use"):
            FolderStore(folder).lock()
        seen.append(folder)

    monkeypatch.setattr("wingbeat.execution.held.write_files", written)
    go(plain(steps=2), tmp_path)
    assert seen == [tmp_path]


def test_data_that_fail_in_the_middle(tmp_path):
    data = Failing(20)
    task = plain(data=data, steps=20)
    with pytest.raises(wb.RunError, match=r"step 9 \(samples \[.*disk gone at sample") as caught:
        go(task, tmp_path / "run", record_every=4, checkpoint_seconds=1000.0)
    assert isinstance(caught.value.__cause__, OSError)
    store = FolderStore(tmp_path / "run")
    assert store.steps() == [0, 4, 8]
    assert all(store.read(step).step == step for step in store.steps())
    with pytest.raises(wb.StoreError, match="an unfinished run: run the same command again"):
        wb.load(tmp_path / "run")
    data.allowed = 10**9
    go(task, tmp_path / "run", record_every=4)
    go(task, tmp_path / "whole", record_every=4)
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_a_warning_survives_a_restart(tmp_path, monkeypatch):
    from wingbeat.replicas.drivers.selection import DriverSelector

    choose = DriverSelector.choose
    monkeypatch.setattr(
        DriverSelector, "choose", lambda *a: replace(choose(*a), warnings=("mind this",))
    )
    data = Failing(20)
    with pytest.raises(wb.RunError):
        go(plain(data=data), tmp_path)
    data.allowed = 10**9
    assert go(plain(data=data), tmp_path).warnings == ("mind this",)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_checkpoints_change_no_bit(tmp_path, dtype):
    options = {"dtype": dtype, "perturbations": tasks.two_forks(), "record_every": 4}
    go(noisy(), tmp_path / "never", checkpoint_seconds=1e9, **options)
    go(noisy(), tmp_path / "always", checkpoint_seconds=0.0, **options)
    assert contents(tmp_path / "never") == contents(tmp_path / "always")


def test_a_folder_of_one_seed_and_one_of_several_are_not_mixed(tmp_path):
    go(plain(steps=2), tmp_path / "one")
    with pytest.raises(wb.StoreError, match="seeds"):
        go(plain(steps=2), tmp_path / "one", seeds=[0, 1])
    go(plain(steps=2), tmp_path / "two", seeds=[0, 1])
    with pytest.raises(wb.StoreError, match="seeds"):
        go(plain(steps=2), tmp_path / "two")
    assert len(wb.load(tmp_path / "two").trajectories) == 2
