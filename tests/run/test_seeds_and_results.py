"""Several base seeds, and results that are saved and read back."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from run import tasks
from run.tasks import contents, plain, rows

import wingbeat as wb
from wingbeat.measure.metric import METRICS
from wingbeat.replicas.replicas import Replicas

SEEDS = [0, 1, 2]


def go(out=None, seeds=SEEDS, **options):
    options = {"replicas": 3, "record_every": 4, "driver": "loop", **options}
    return wb.run(
        plain(steps=12, eval_data=tasks.points(50, 1)),
        tasks.two_forks(at=5),
        out=out,
        seeds=seeds,
        **options,
    )


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    return go(tmp_path_factory.mktemp("several") / "run")


def test_each_seed_is_a_run_of_its_own(several):
    assert list(several.table.columns)[-1] == "seed"
    assert sorted(several.table.seed.unique()) == SEEDS
    assert list(several.trajectories) == SEEDS
    for seed in SEEDS:
        alone = wb.run(
            plain(steps=12, seed=seed, eval_data=tasks.points(50, 1)),
            tasks.two_forks(at=5),
            replicas=3,
            record_every=4,
            driver="loop",
        )
        own = rows(several, seed=seed).drop(columns="seed").reset_index(drop=True)
        assert own.equals(alone.table)
        assert (several.folder / f"seed-{seed}" / "snapshots").is_dir()


def test_the_ratio_is_the_geometric_mean_over_seeds_freed_of_bias(several):
    for name in ("gaussian-0.01@0", "batchgradient-0.01@5"):
        logs = []
        for seed in SEEDS:
            own = rows(several, metric="spread", perturbation=name, layer="", seed=seed)
            logs.append(math.log(own.value.iloc[-1] / own.value.iloc[0]))
        entry = several.summary[f"{name}/convergence_ratio"]
        # three Gaussian replicas lower the mean logarithm by 0.29 at most, along one direction
        assert -0.29 < np.mean(logs) - math.log(entry["value"]) < 0.29
        assert entry["low"] < entry["value"] < entry["high"]
    assert len(several.perturbations[0]["realised"]["l2"]) == 9


def test_seeds_in_memory_give_the_same(several):
    memory = go()
    assert memory.summary == several.summary
    assert memory.table.equals(several.table)


def test_a_finished_folder_of_seeds_returns_at_once(several, monkeypatch):
    before = [p.stat().st_mtime_ns for p in several.folder.rglob("*.*")]
    monkeypatch.setattr(Replicas, "advance", None)
    monkeypatch.setattr("wingbeat.execution.session.measure", None)
    again = go(several.folder)
    assert again.summary == several.summary
    assert [p.stat().st_mtime_ns for p in several.folder.rglob("*.*")] == before


def test_an_interrupted_run_of_seeds_goes_on(several, tmp_path, monkeypatch):
    advance, left = Replicas.advance, [17]

    def interrupted(replicas, index, **more):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        advance(replicas, index, **more)

    monkeypatch.setattr(Replicas, "advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "run", checkpoint_seconds=0.0)
    assert (tmp_path / "run" / "seed-0" / "sealed.json").exists()
    left[0] = 36 - 17 + 1
    go(tmp_path / "run", checkpoint_seconds=0.0)
    assert contents(tmp_path / "run") == contents(several.folder)


def test_more_seeds_train_only_the_new_ones(tmp_path, monkeypatch):
    go(tmp_path / "run", seeds=[0])
    advance, seen = Replicas.advance, []

    def counted(replicas, index, **more):
        seen.append(index)
        advance(replicas, index, **more)

    monkeypatch.setattr(Replicas, "advance", counted)
    both = go(tmp_path / "run", seeds=[0, 1])
    assert len(seen) == 12
    assert sorted(both.table.seed.unique()) == [0, 1]


def equal(a, b):
    assert a.table.equals(b.table)
    assert a.summary == b.summary
    assert a.condition == b.condition
    assert a.environment == b.environment
    assert a.perturbations == b.perturbations
    assert (a.warnings, a.metrics) == (b.warnings, b.metrics)
    assert (a.steps, a.labels, a.behavior) == (b.steps, b.labels, b.behavior)
    assert list(a.trajectories) == list(b.trajectories)
    for seed, trajectory in a.trajectories.items():
        for mine, other in zip(trajectory, b.trajectories[seed], strict=True):
            assert all((mine.params[k] == other.params[k]).all() for k in mine.params)
            assert mine.losses.equal(other.losses) or mine.losses.isnan().any()


@pytest.mark.parametrize("seeds", [None, [7], [0, 1]])
def test_saved_and_loaded_is_equal(tmp_path, seeds):
    result = go(seeds=seeds)
    assert result.folder is None
    result.save(tmp_path / "saved here")
    loaded = wb.load(tmp_path / "saved here")
    equal(result, loaded)
    loaded.save(tmp_path / "again")
    equal(result, wb.load(tmp_path / "again"))


def test_a_folder_s_result_is_what_load_gives(several):
    equal(several, wb.load(several.folder))


def test_a_saved_run_can_be_run_again(tmp_path):
    result = go(seeds=None)
    result.save(tmp_path)
    again = go(tmp_path, seeds=None)
    assert again.summary == result.summary
    assert again.table.equals(result.table)


def test_two_runs_are_not_saved_into_one_folder(tmp_path):
    go(seeds=None).save(tmp_path)
    with pytest.raises(wb.StoreError, match="another run"):
        go(seeds=None, record_every=12).save(tmp_path)


def test_the_summary_is_for_machines(several):
    text = json.dumps(several.summary, allow_nan=False)
    assert json.loads(text) == several.summary
    keys = {"value", "low", "high", "reason"}
    for name, entry in several.summary.items():
        assert keys <= set(entry) <= keys | {"interval_reason"}, name
        assert isinstance(entry["value"], (int, float, str, type(None)))
    json.dumps([several.condition, several.environment, several.perturbations], allow_nan=False)


def test_what_the_forks_really_did_is_recorded(several):
    first = several.perturbations[0]
    assert first["kind"] == "gaussian"
    assert first["replicas"] == 3
    start = several.trajectory.at(0)
    for i in range(3):
        moved = [(t[2 + i].double() - t[0].double()).square().sum() for t in start.params.values()]
        assert first["realised"]["l2"][i] == pytest.approx(math.sqrt(sum(moved)), rel=1e-9)
    assert all(0 < share <= 1 for share in first["realised"]["changed"])


def test_equal_perturbations_get_names_of_their_own():
    twice = [wb.Gaussian(0.01), wb.Gaussian(0.01), wb.Gaussian(0.01, seed=4)]
    result = wb.run(plain(steps=2), twice, replicas=2, driver="loop")
    names = list(dict.fromkeys(x.rsplit("#", 1)[0] for x in result.labels[2:]))
    assert names == ["gaussian-0.01@0", "gaussian-0.01@0/2", "gaussian-0.01@0/3"]
    sizes = [rows(result, metric="l2", perturbation=n, layer="").value.tolist() for n in names]
    assert sizes[0] == sizes[1] != sizes[2]


def test_a_metric_with_a_plus_adds_to_the_default() -> None:
    data = (torch.randn(8, 2), torch.randn(8, 1))
    task = wb.Task(
        model=lambda: torch.nn.Linear(2, 1),
        loss=lambda model, batch: (model(batch[0]) - batch[1]).square().mean(),
        data=data,
        optimizer=lambda params: torch.optim.SGD(params, lr=0.1),
        batch_size=4,
        steps=2,
    )
    options = {"replicas": 2, "driver": "loop"}
    default = wb.run(task, wb.Gaussian(0.1), **options)
    more = wb.run(task, wb.Gaussian(0.1), metrics="+barrier", **options)
    alone = wb.run(task, wb.Gaussian(0.1), metrics="barrier", **options)
    assert more.metrics == (*default.metrics, "barrier")
    assert alone.metrics == ("barrier",)
    twice = wb.run(task, wb.Gaussian(0.1), metrics=["+l2", "+l2"], **options)
    assert twice.metrics == default.metrics
    with pytest.raises(wb.RequestError, match=r"all with \+ or none"):
        wb.run(task, wb.Gaussian(0.1), metrics=["+barrier", "l2"], **options)
    with pytest.raises(wb.RequestError, match="did you mean 'barrier'"):
        wb.run(task, wb.Gaussian(0.1), metrics="+barier", **options)
    declared = METRICS.find("barrier")  # an object has no place for a +
    beside = wb.run(task, wb.Gaussian(0.1), metrics=["+l2", declared], **options)
    assert beside.metrics == more.metrics
    with pytest.raises(wb.RequestError, match="metrics holds 5"):
        wb.run(task, wb.Gaussian(0.1), metrics=["+l2", 5], **options)
