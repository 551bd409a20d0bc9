"""Conditions that a worker takes at once give the bytes that each gives alone, and fail alone."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from wingbeat.errors import RequestError
from wingbeat.execution import together
from wingbeat.replicas import company
from wingbeat.replicas.company import Company
from wingbeat.replicas.drivers.recordings import RECORDINGS
from wingbeat.study.condition import Condition
from wingbeat.study.delivery import Delivering, Depot
from wingbeat.study.grid import cross
from wingbeat.study.ledger import Ledger, Record
from wingbeat.study.pack import Pack, members, packed
from wingbeat.study.run import run_study
from wingbeat.study.work import Worker
from wingbeat.task.task import Task

HERE = Path(__file__).resolve().parent


@pytest.fixture(autouse=True)
def rides(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Let company be tried at once, however little there is to gain; count who rides."""
    found: list[int] = []
    ride = Company._together

    def counted(self: Company, seats: Any, index: int) -> None:
        found.append(len(seats))
        ride(self, seats, index)

    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setattr(company, "_BUILDING", 0.0)
    monkeypatch.setattr(company, "_LONGEST", 1e9)
    monkeypatch.setattr(company, "_slower", lambda *_: False)
    monkeypatch.setattr(Company, "_together", counted)
    RECORDINGS.clear()
    yield found
    RECORDINGS.clear()


def net(
    lr: float = 0.1,
    decay: float = 0.1,
    width: int = 3,
    steps: int = 12,
    broken: float = 0.0,
    optimizer: str = "AdamW",
) -> Task:
    """Return a small net with dropout; its data cannot be read where ``broken`` is not 0."""
    x = torch.linspace(-1, 1, 24).unsqueeze(1)
    return Task(
        model=lambda: nn.Sequential(
            nn.Linear(1, width), nn.Tanh(), nn.Dropout(0.2), nn.Linear(width, 1)
        ),
        loss=lambda model, batch: ((model(batch[0]) - batch[1]) ** 2).mean(),
        data=(x, x**2),
        optimizer=lambda params: getattr(torch.optim, optimizer)(params, lr=lr, weight_decay=decay),
        batch_size=8,
        steps=steps,
        augment=_unreadable if broken else None,
    )


def _unreadable(batch: Any, draws: Any) -> Any:
    if float(draws(1)[0, 0]) > 0.5:
        raise OSError("a damaged file")
    return batch


START = Condition(
    "test_packs:net", replicas=2, record_every=5, metrics=("l2", "spread", "train_loss")
)
GAUSS, LARGE = ([{"kind": "gaussian", "scale": scale}] for scale in (0.01, 0.1))
RATES = {"arguments.lr": [0.01, 0.1, 1], "seed": [0, 1]}


def table(folder: Path) -> bytes:
    return (folder / "table.parquet").read_bytes()


@pytest.mark.parametrize(
    ("axes", "most"),
    [
        ({"arguments.lr": [0.01, 1], "arguments.decay": [0.1, 0.01]}, 3),
        pytest.param(RATES, 8, marks=pytest.mark.slow),
        pytest.param({"perturbations": [GAUSS, LARGE], "seed": [0, 1]}, 8, marks=pytest.mark.slow),
        pytest.param(
            {"arguments.optimizer": ["SGD", "RMSprop"], "arguments.lr": [0.1, 0.01, 0.2]},
            8,
            marks=pytest.mark.slow,
        ),
        pytest.param({"arguments.width": [3, 4], "seed": [0, 1]}, 8, marks=pytest.mark.slow),
        pytest.param({"arguments.steps": [12, 7], "seed": [0, 1]}, 8, marks=pytest.mark.slow),
    ],
)
def test_a_packed_study_has_the_bytes_of_one_after_the_other(
    axes: dict[str, Any], most: int, tmp_path: Path, rides: list[int]
) -> None:
    grid = cross(START, axes)
    run_study(grid, tmp_path / "alone", pack=1)
    assert not rides
    run_study(grid, tmp_path / "packed", pack=most)
    assert max(rides) >= 2
    assert table(tmp_path / "alone") == table(tmp_path / "packed")


@pytest.mark.slow
def test_a_pack_killed_at_any_moment_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of the whole pack are counted; a state is saved at every one."""
    grid = cross(START, {"arguments.lr": [0.01, 0.1, 1]})
    run_study(grid, tmp_path / "alone", pack=1)
    monkeypatch.setattr("wingbeat.study.work.CHECKPOINT_SECONDS", 0.0)
    for stop in (2, 17, 30):
        out, steps, goes_on = tmp_path / str(stop), itertools.count(), together._SideBySide._goes_on

        def killed(self: Any, *args: Any, stop: int = stop, steps: Any = steps) -> bool:
            if next(steps) == stop:
                raise KeyboardInterrupt
            return goes_on(self, *args)  # noqa: B023

        with monkeypatch.context() as patched:
            patched.setattr(together._SideBySide, "_goes_on", killed)
            with pytest.raises(KeyboardInterrupt):
                run_study(grid, out)
        assert not Ledger(out).done()
        assert stop == 2 or list(out.glob("records/*/run/*/state/latest.safetensors"))
        run_study(grid, out)
        assert table(out) == table(tmp_path / "alone")


@pytest.mark.slow
def test_who_fails_leaves_the_others(tmp_path: Path, rides: list[int]) -> None:
    grid = cross(START, {"arguments.broken": [0.0, 0.5], "arguments.lr": [0.01, 0.1]})
    poison = [Condition("study_tasks:poison", {"lr": lr}, metrics=("l2",)) for lr in (0.1, 0.2)]
    found = run_study([*grid, *poison], tmp_path / "packed")
    assert max(rides) >= 2
    errors = {r.key: r.error for r in found.failures}
    assert set(errors) == {c.key for c in [*grid[2:], *poison]}
    assert "a damaged file" in errors[grid[2].key]
    assert "poison" in errors[poison[1].key]
    run_study(grid[:2], tmp_path / "alone", pack=1)
    done = found.table[found.table["key"].isin([c.key for c in grid[:2]])]
    alone = run_study(grid[:2], tmp_path / "alone").table
    assert done.reset_index(drop=True)[alone.columns].equals(alone)


@pytest.mark.slow
def test_a_copy_that_diverges_does_not_reach_its_company(tmp_path: Path) -> None:
    grid = cross(
        START, {"arguments.optimizer": ["SGD"], "arguments.lr": [0.01, 1e30], "seed": [0, 1]}
    )
    alone = run_study(grid, tmp_path / "alone", pack=1)
    packs = run_study(grid, tmp_path / "packed")
    assert table(tmp_path / "alone") == table(tmp_path / "packed")
    rows = packs.table.set_index("key")
    assert (rows.loc[[c.key for c in grid[2:]], "reason"] == "diverged").any()
    assert (rows.loc[[c.key for c in grid[:2]], "reason"] == "").any()
    assert alone.failures == packs.failures == ()


class Gone:
    """A runner whose process ends while it is at a pack; conditions by themselves are done."""

    workers = 1

    def __init__(self, work: Worker) -> None:
        self.work, self.seen = work, list[int]()

    def map(self, work: Any, conditions: Iterable[Condition]) -> Iterator[Record]:
        for condition in conditions:
            pack = members(condition)
            self.seen.append(len(pack))
            if len(pack) > 1:
                self.work(pack[1])  # was done before the end came
                yield Record(condition.key, "died", "the process ended with code 9")
            else:
                yield work(condition)


def test_a_pack_whose_process_dies_is_done_one_by_one_and_nobody_is_blamed(tmp_path: Path) -> None:
    grid = cross(START, {"arguments.lr": [0.01, 0.1, 1]})
    told: list[tuple[str, int, int]] = []
    runner = Gone(Worker(tmp_path / "out"))
    found = run_study(
        grid,
        tmp_path / "out",
        runner,
        tries=1,
        progress=lambda record, ended, total: told.append((record.status, ended, total)),
    )
    assert runner.seen == [3, 1, 1]
    assert found.failures == ()
    assert told == [("died", 0, 3), ("done", 1, 3), ("done", 2, 3), ("done", 3, 3)]
    run_study(grid, tmp_path / "alone", pack=1)
    assert table(tmp_path / "out") == table(tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.parametrize("why", ["slow", "memory", "loop"])
def test_what_gains_nothing_is_given_back_and_done_one_by_one(
    why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rides: list[int]
) -> None:
    if why == "slow":
        monkeypatch.setattr(company, "_LONGEST", 0.0)
    elif why == "memory":
        monkeypatch.setattr(together, "free_memory", lambda _: 1000)
    else:
        monkeypatch.setattr("wingbeat.execution.session.Session.shares", lambda _: False)
    grid = cross(START, {"arguments.lr": [0.01, 0.1, 1]})
    found = run_study(grid, tmp_path / "out")
    assert not rides
    assert found.conditions["status"].tolist() == ["done"] * 3
    events = [e["event"] for e in Ledger(tmp_path / "out").events()]
    assert events.count("done") == 3
    run_study(grid, tmp_path / "alone", pack=1)
    assert table(tmp_path / "out") == table(tmp_path / "alone")


@pytest.mark.slow
def test_records_of_a_pack_are_delivered(tmp_path: Path) -> None:
    grid = cross(START, {"arguments.lr": [0.01, 0.1]})
    depot = Depot(f"file://{tmp_path}/depot")
    record = Delivering(Worker, depot, tmp_path)(Pack.of(grid))
    assert [r.status for r in record.each] == ["done", "done"]
    assert depot.keys() == {c.key for c in grid}


def numbers(count: int, **others: Any) -> list[Condition]:
    return [Condition("m:f", {"lr": (i + 1) / 8, **others}) for i in range(count)]


@pytest.mark.parametrize(
    ("conditions", "workers", "sizes"),
    [
        (numbers(8), 2, [4, 4]),
        (numbers(8), 1, [8]),
        (numbers(9), 1, [4, 5]),
        (numbers(3), 8, [1, 1, 1]),
        (numbers(8), None, [1] * 8),
        ([*numbers(2), *numbers(2, width=3)], 1, [2, 2]),
        ([c for w in range(6) for c in numbers(5, width=w)], 2, [5] * 6),
        ([c for w in range(5) for c in numbers(5, width=w)], 2, [2, 3] * 5),
        ([Condition("m:f", seeds=(s,), tags={"s": s}) for s in range(4)], 1, [4]),
        ([Condition("m:f", seeds=tuple(range(s))) for s in (1, 2)], 1, [1, 1]),
        ([Condition("m:f", driver=d) for d in ("loop", "auto")], 1, [1, 1]),
        ([Condition("m:f", {"i": i}, driver="loop") for i in range(2)], 1, [1, 1]),
        ([Condition("m:f", {"decay": d}) for d in (0.0, 0.1, 0.2)], 1, [1, 2]),
        ([Condition("m:f", {"lr": 1}), Condition("m:f", {"lr": 0.5})], 1, [2]),
        (
            [
                Condition("m:f", optimizer={"kind": kind, "lr": lr})
                for kind in ("SGD", "Adam")
                for lr in (0.1, 1)
            ],
            1,
            [2, 2],
        ),
        (
            [
                Condition("m:f", perturbations=({"kind": "gaussian", "scale": s, "at": at},))
                for at in (0, 3)
                for s in (0.1, 0.2)
            ],
            1,
            [2, 2],
        ),
    ],
)
def test_packs_hold_what_differs_in_numbers_and_leave_no_worker_idle(
    conditions: list[Condition], workers: int | None, sizes: list[int]
) -> None:
    found = packed(conditions, workers)
    assert [len(members(c)) for c in found] == sizes
    assert {c.key for pack in found for c in members(pack)} == {c.key for c in conditions}


def test_a_pack_is_a_condition_for_whoever_handles_conditions() -> None:
    first, second = numbers(2)
    pack = Pack.of([first, second])
    assert (pack.key, pack.canonical, pack.to_json()) == (
        first.key,
        first.canonical,
        first.to_json(),
    )
    assert json.dumps(pack.to_json())
    assert members(pack) == (first, second)
    assert Pack.of([first]) is first


@pytest.mark.parametrize("pack", [0, -1, True, 1.5, "8"])
def test_wrong_packs_are_refused(pack: Any, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="pack is"):
        run_study(numbers(2), tmp_path, pack=pack)
