"""Checkpoints of anyone's script as a trajectory: same numbers as from points in memory."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from checkpoints.ck_files import points, sharded, state, written
from safetensors.torch import save_file

import wingbeat as wb
from wingbeat import metrics
from wingbeat.errors import NO_TWIN, RequestError, StoreError
from wingbeat.execution.external import WEIGHTS, measure_checkpoints
from wingbeat.trajectory.trajectory import Trajectory

STEPS, RUNS = (0, 10, 30), ("1", "2", "10")


def weights(run, step, dtype=torch.float32):
    base, apart = state(0, torch.float64), state(100 * int(run) + step, torch.float64)
    grown = {n: t + 0.01 * (1 + step) * apart[n] for n, t in base.items()}
    return {n: t.to(dtype) for n, t in grown.items() if t.numel()}


@pytest.fixture
def folder(tmp_path):
    """Three runs: one in safetensors, one sharded, one in .pt; all with a counter beside."""
    for step in STEPS:
        for run in RUNS:
            (tmp_path / f"run-{run}").mkdir(exist_ok=True)
            tensors = {**weights(run, step), "count": torch.tensor(step)}
            place = tmp_path / f"run-{run}" / f"step-{step:03d}"
            if run == "1":
                written(place, tensors)
            elif run == "2":
                sharded(place, tensors)
            else:
                torch.save({"state_dict": tensors, "step": step}, place)
    return tmp_path


def test_labels_steps_and_tensors(folder):
    trajectory = Trajectory.from_checkpoints(f"{folder}/run-*/step-*")
    assert trajectory.steps == STEPS
    assert trajectory.labels == ("reference", "runs#2", "runs#10")
    got = trajectory.tensor(30, "layers.0.w")
    wanted = torch.stack([weights(run, 30)["layers.0.w"] for run in RUNS])
    assert torch.equal(got, wanted)
    snapshot = trajectory.at(10)
    assert set(snapshot.params) == set(weights("1", 0))
    assert len(snapshot.params) == 4
    assert trajectory.losses.shape == (0, 3)
    assert trajectory.diverged() == {}
    assert trajectory.pairs()[0] == ("reference", "runs#2")
    other = Trajectory.from_checkpoints(f"{folder}/run-*/step-*", reference="10", group="seeds")
    assert other.labels == ("reference", "seeds#1", "seeds#2")
    assert torch.equal(other.tensor(0, "layers.0.b")[0], weights("10", 0)["layers.0.b"])


def test_it_is_read_only_and_says_what_is_absent(folder):
    trajectory = Trajectory.from_checkpoints(f"{folder}/run-*/step-*")
    with pytest.raises(StoreError, match="only read"):
        trajectory.store.append(trajectory.at(0))
    trajectory.store.seal()
    with pytest.raises(StoreError, match=r"no checkpoints of step 11.*found: 0, 10, 30"):
        trajectory.at(11)
    with pytest.raises(RequestError, match="there is no replica '3'"):
        Trajectory.from_checkpoints(f"{folder}/run-*/step-*", reference="3")
    save_file({"else": torch.ones(1)}, folder / "run-1" / "step-000")
    with pytest.raises(RequestError, match="share no floating-point tensor"):
        Trajectory.from_checkpoints(f"{folder}/run-*/step-*")


def test_every_metric_of_the_weights_equals_the_one_in_memory(folder):
    result = measure_checkpoints(f"{folder}/run-*/step-*", steps_per_epoch=5)
    assert result.metrics == WEIGHTS
    table = result.table
    p = np.stack([points([weights(run, step) for run in RUNS]) for step in STEPS])  # (T, E, P)
    for t, step in enumerate(STEPS):
        for e, label in enumerate(result.labels):
            if e:
                own = table[(table.step == step) & (table.b == label) & (table.layer == "")]
                value = own.set_index("metric")["value"]
                for name in ("l2", "relative_l2", "cosine"):
                    wanted = getattr(metrics, name)(p[t, 0], p[t, e])
                    np.testing.assert_allclose(value[name], wanted, rtol=1e-12)
        spread = table[(table.metric == "spread") & (table.step == step) & (table.layer == "")]
        np.testing.assert_allclose(spread.value.item(), metrics.spread(p[t, 1:]), rtol=1e-12)
    path = table[table.metric == "path_length"].set_index("b")["value"]
    np.testing.assert_allclose(path[list(result.labels)], metrics.path_length(p), rtol=1e-12)
    pca = metrics.trajectory_pca(p.reshape(-1, p.shape[-1]), 3)
    got = table[table.metric == "pc1"].value.to_numpy()
    np.testing.assert_allclose(got, pca.scores[:, 0], rtol=1e-7, atol=1e-9)
    ratio = metrics.convergence_ratio(p[:, 1:])
    np.testing.assert_allclose(result.convergence_ratio, ratio, rtol=1e-12)
    assert result.lyapunov > 0
    np.testing.assert_allclose(result.lyapunov_per_epoch, 5 * result.lyapunov)


def test_there_is_no_noise_floor_and_nothing_pretends_there_is(folder, tmp_path):
    result = measure_checkpoints(Trajectory.from_checkpoints(f"{folder}/run-*/step-*"))
    assert math.isnan(result.noise_floor)
    assert result.summary["noise_floor"]["reason"] == NO_TWIN
    assert not result.deterministic
    assert "lyapunov_per_epoch" not in result.summary
    assert any("no unperturbed twin" in w for w in result.warnings)
    assert "null" not in result.labels
    text = result.report(tmp_path / "r.html").read_text(encoding="utf-8")
    assert "no unperturbed twin" in text
    assert "noise floor: exactly 0" not in text
    assert "exactly 0" not in result._repr_html_()
    assert "undefined" in text
    again = wb.load(result.save(tmp_path / "kept"))
    assert again.table.equals(result.table)
    assert torch.equal(
        again.trajectory.tensor(30, "layers.0.b"), result.trajectory.tensor(30, "layers.0.b")
    )


def test_a_single_run_has_a_path_but_no_spread(folder):
    result = measure_checkpoints(f"{folder}/run-2/step-*")
    assert result.labels == ("reference",)
    assert result.behavior == "undetermined"
    p = np.stack([points([weights("2", step)]) for step in STEPS])
    path = result.table[result.table.metric == "path_length"].value.item()
    np.testing.assert_allclose(path, metrics.path_length(p)[0], rtol=1e-12)
    assert (result.table.metric == "pc1").sum() == len(STEPS)


def test_metrics_that_need_more_are_refused(folder):
    with pytest.raises(RequestError, match="needs more than checkpoints"):
        measure_checkpoints(f"{folder}/run-*/step-*", ["train_loss"])
    with pytest.raises(RequestError, match="unknown metric"):
        measure_checkpoints(f"{folder}/run-*/step-*", ["spred"])


def test_bf16_beside_float32_and_a_step_that_one_run_lacks(tmp_path):
    for run, dtype in (("a", torch.bfloat16), ("b", torch.float32)):
        for step in (1, 2, 3):
            if (run, step) != ("b", 2):
                written(tmp_path / f"{run}.{step}.safetensors", weights("1", step, dtype))
    trajectory = Trajectory.from_checkpoints(f"{tmp_path}/*.*.safetensors")
    assert trajectory.steps == (1, 3)
    got = trajectory.tensor(3, "layers.0.w")
    assert got.dtype == torch.float64
    assert torch.equal(got[0], weights("1", 3, torch.bfloat16)["layers.0.w"].double())
    result = measure_checkpoints(trajectory)
    assert any("1 steps that not every replica has" in w for w in result.warnings)
    assert measure_checkpoints(f"{tmp_path}/b.*.safetensors").steps == (1, 3)


def test_how_files_are_read_is_no_warning_unless_some_are_read_otherwise(tmp_path):
    for run in "abc":
        for epoch in (1, 2):
            own = weights(str("abc".index(run)), epoch)
            content = {"model": own, "best_val_loss": torch.tensor(0.5)}
            torch.save(content, tmp_path / f"{run}.epoch{epoch}.pt")
    pattern = f"{tmp_path}/{{replica}}.epoch{{step}}.pt"
    result = measure_checkpoints(pattern)
    assert result.condition["reading"] == [
        "The steps of the file names are epochs.",
        "Weights are those of 'model'; not read: 'best_val_loss'.",
    ]
    assert not any("not read" in w or "epochs" in w for w in result.warnings)
    more = {**content, "optimizer": {"momentum": torch.ones(3)}}
    torch.save(more, tmp_path / "c.epoch2.pt")
    result = measure_checkpoints(pattern)
    assert any("c@2: Weights are those of 'model'" in w for w in result.warnings)


def test_replicas_that_never_moved_from_each_other(tmp_path):
    for run in "abc":
        for step in (0, 1):
            written(tmp_path / f"{run}-{step}.safetensors", weights("1", step))
    result = measure_checkpoints(f"{tmp_path}/*-*.safetensors")
    l2 = result.table[result.table.metric == "l2"]
    assert (l2.value == 0.0).all()
    assert result.behavior == "undetermined"
    assert result.summary["convergence_ratio"]["reason"]
