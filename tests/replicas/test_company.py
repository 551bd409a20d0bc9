"""Base seeds advance in one call, and nothing of a replica depends on who rides along."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cases
import pytest
import torch

import wingbeat as wb
from wingbeat.execution import session, together
from wingbeat.replicas import company
from wingbeat.replicas.company import Company
from wingbeat.replicas.drivers.groups import Groups
from wingbeat.replicas.drivers.recordings import RECORDINGS
from wingbeat.replicas.snapshot import Snapshot
from wingbeat.trajectory.store import FolderStore
from wingbeat.trajectory.trajectory import Trajectory

SEEDS = (0, 1, 2)
FORKS = (wb.Gaussian(0.01), wb.Gaussian(0.1, at=6))
NOISE = (wb.DataOrder(1), wb.Dropout(1, at=5))


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Company]]:
    """Let company be tried at once, however little there is to gain; keep who was made."""
    made: list[Company] = []

    class Watched(Company):
        def __init__(self, riders: Any) -> None:
            super().__init__(riders)
            made.append(self)

    monkeypatch.setattr(company, "_BUILDING", 0.0)
    monkeypatch.setattr(company, "_LONGEST", 1e9)
    monkeypatch.setattr(company, "_slower", lambda *_: False)
    monkeypatch.setattr(together, "Company", Watched)
    monkeypatch.setattr(session, "Company", Watched)
    RECORDINGS.clear()
    yield made
    RECORDINGS.clear()


def run(task: wb.Task, forks: Any, out: Path, seeds: Any = None) -> None:
    wb.run(
        task,
        forks,
        replicas=2,
        record_every=5,
        metrics=["l2"],
        driver="lockstep",
        compiled=False,
        seeds=seeds,
        out=out,
        progress=False,
    )


def snapshots(folder: Path) -> list[Snapshot]:
    return list(Trajectory(FolderStore(folder)))


def same(a: Snapshot, b: Snapshot) -> bool:
    pairs = [(a.params[k], b.params[k]) for k in a.params]
    pairs += [(a.buffers[k], b.buffers[k]) for k in a.buffers]
    pairs += [(a.losses, b.losses)]
    equal = (torch.equal(x.nan_to_num(), y.nan_to_num()) for x, y in pairs)
    return a.labels == b.labels and all(equal)


def equal_to_alone(task: wb.Task, forks: Any, out: Path, seeds: Any = SEEDS) -> None:
    for seed in seeds:
        run(replace(task, seed=seed), forks, out / f"alone-{seed}")
        alone, among = snapshots(out / f"alone-{seed}"), snapshots(out / f"seed-{seed}")
        assert len(alone) == len(among) > 2
        assert all(map(same, alone, among))


@pytest.mark.parametrize(
    ("problem", "forks", "rides"),
    [
        ("mlp", FORKS, 5),
        pytest.param("mlp-noisy", NOISE, 5, marks=pytest.mark.slow),
        pytest.param("dict", FORKS, 5, marks=pytest.mark.slow),
        pytest.param("mlp-silu", FORKS, 5, marks=pytest.mark.slow),
        # Convolutions of more groups may round otherwise: they are then refused.
        pytest.param("cnn-noisy", FORKS, 0, marks=pytest.mark.slow),
        pytest.param("groups", FORKS, 5, marks=pytest.mark.slow),
        pytest.param("transformer-noisy", FORKS, 5, marks=pytest.mark.slow),
        pytest.param("clipped", FORKS, 5, marks=pytest.mark.slow),
    ],
)
def test_seeds_in_company_have_the_bits_that_they_have_alone(
    problem: str, forks: Any, rides: int, tmp_path: Path, eager: list[Company]
) -> None:
    task = cases.task(problem, steps=14)
    run(task, forks, tmp_path, SEEDS)
    assert max(c.calls for c in eager) >= rides
    equal_to_alone(task, forks, tmp_path)


def test_copies_with_noise_of_their_own_ride_together_in_one_run(
    tmp_path: Path, eager: list[Company], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = cases.task("mlp-noisy", steps=12)
    run(task, (wb.DataOrder(1), wb.Dropout(2)), tmp_path / "together")
    assert eager[0].calls >= 5
    monkeypatch.setattr(company, "_fits", lambda _: False)
    run(task, (wb.DataOrder(1), wb.Dropout(2)), tmp_path / "apart")
    a, b = snapshots(tmp_path / "together"), snapshots(tmp_path / "apart")
    assert all(map(same, a, b))
    assert not torch.equal(a[-1].params["0.weight"][2], a[-1].params["0.weight"][3])


@pytest.mark.slow
def test_who_rides_along_does_not_matter(tmp_path: Path) -> None:
    task = cases.task("mlp-noisy", steps=12)
    run(task, FORKS, tmp_path / "two", (0, 1))
    run(task, FORKS, tmp_path / "four", (3, 1, 2, 7))
    few, many = snapshots(tmp_path / "two" / "seed-1"), snapshots(tmp_path / "four" / "seed-1")
    assert all(map(same, few, many))


def test_company_that_changes_bits_is_refused(
    tmp_path: Path, eager: list[Company], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Groups.__call__
    monkeypatch.setattr(Groups, "__call__", lambda *args: [t * (1 + 1e-6) for t in right(*args)])
    task = cases.task("mlp", steps=12)
    run(task, FORKS, tmp_path, SEEDS)
    equal_to_alone(task, FORKS, tmp_path)
    assert eager[0].broken == ""


def test_company_that_begins_to_change_bits_is_noticed_and_all_begin_anew(
    tmp_path: Path, eager: list[Company], monkeypatch: pytest.MonkeyPatch
) -> None:
    right, calls = Groups.__call__, [0]

    def later(*args: Any) -> list[torch.Tensor]:
        calls[0] += 1
        wrong = 1.0 if calls[0] < 8 else 1 + 1e-6
        return [t * wrong for t in right(*args)]

    monkeypatch.setattr(Groups, "__call__", later)
    task = cases.task("mlp", steps=20)
    run(task, FORKS, tmp_path, SEEDS)
    assert "in company" in eager[0].broken
    equal_to_alone(task, FORKS, tmp_path)


LIMIT = 2.0


def damaged(batch: Any, draws: Any) -> Any:
    """Fail where a draw exceeds the limit; values of globals are no part of a request."""
    if float(draws(1)[0, 0]) > LIMIT:
        raise OSError("a damaged file")
    return batch


def test_a_seed_whose_data_fail_keeps_what_the_others_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = cases.task("mlp", steps=12)
    fragile = replace(task, augment=damaged)
    monkeypatch.setitem(globals(), "LIMIT", 0.97)
    with pytest.raises(wb.errors.RunError):
        run(fragile, FORKS, tmp_path, SEEDS)
    monkeypatch.setitem(globals(), "LIMIT", 2.0)
    run(fragile, FORKS, tmp_path, SEEDS)
    equal_to_alone(fragile, FORKS, tmp_path)
