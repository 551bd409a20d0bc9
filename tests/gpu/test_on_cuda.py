"""On a GPU: every driver against loops by hand, the twin, resuming, and what is measured there.

``pytest -m gpu`` runs it where there is a CUDA device; everywhere else it is skipped.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import wingbeat as wb
from benchmarks.gpu import DRIVERS, dense, run, small, task, weights
from wingbeat.calibration import calibrate
from wingbeat.determinism import derive, deterministic_algorithms
from wingbeat.replicas.drivers.lockstep import Lockstep
from wingbeat.replicas.replicas import Replicas
from wingbeat.task.batches import Batches, Streams
from wingbeat.task.step import TrainingStep

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
HERE = __import__("os").environ.get("GPU_TEST_DEVICE", "cuda")
NOISY = task(partial(dense, 0.2), "points", 12)
STACKED = ("recorded", "usual")


def by_hand(of: wb.Task, dtype: torch.dtype) -> torch.Tensor:
    """Train as people write it, over the batches and under the seeds of a run."""
    batches, streams = Batches(of, dtype, torch.device(HERE)), Streams.of(of.seed)
    torch.manual_seed(of.seed)
    model = of.model().to(HERE, dtype)
    optimizer = of.optimizer(model.parameters())
    model.train()
    with deterministic_algorithms():
        for index in range(of.steps):
            batch = batches.batch(streams, index)
            torch.manual_seed(derive(streams.dropout, index))
            optimizer.zero_grad()
            of.loss(model, batch).backward()
            optimizer.step()
    return torch.cat([p.detach().flatten() for p in model.parameters()]).cpu()


def reference(result: wb.Result) -> torch.Tensor:
    last = list(result.trajectory)[-1]
    return torch.cat([t[0].flatten() for t in last.params.values()])


@pytest.mark.parametrize("net", ["dense", "ResNet-8", "transformer"])
@pytest.mark.parametrize("name", ["loop", *STACKED])
def test_weights_are_those_of_the_processor(net: str, name: str) -> None:
    of = small(8)[net]
    plain = weights(run(of, "cpu", driver="loop", replicas=2, dtype=torch.float64))
    here = run(of, HERE, replicas=2, dtype=torch.float64, **DRIVERS[name])
    assert float((weights(here) - plain).norm() / plain.norm()) < 1e-9
    assert here.noise_floor == 0.0


@pytest.mark.parametrize("of", [NOISY, *small(8).values()], ids=["noisy", *small(1)])
def test_the_loop_is_the_loop_written_by_hand(of: wb.Task) -> None:
    found = reference(run(of, HERE, driver="loop", replicas=1))
    assert torch.equal(found, by_hand(of, torch.float32))


@pytest.mark.parametrize("name", STACKED)
def test_masks_of_dropout_are_those_of_a_plain_loop(name: str) -> None:
    result = run(NOISY, HERE, replicas=3, dtype=torch.float64, **DRIVERS[name])
    assert result.environment["driver"] == "lockstep"
    expected = by_hand(NOISY, torch.float64)
    assert float((reference(result) - expected).norm() / expected.norm()) < 1e-9


@pytest.mark.parametrize("name", ["loop", *STACKED])
@pytest.mark.parametrize("of", [NOISY, *small(8).values()], ids=["noisy", *small(1)])
def test_the_twin_stays_at_zero(of: wb.Task, name: str) -> None:
    result = run(of, HERE, replicas=3, **DRIVERS[name])
    assert result.noise_floor == 0.0
    again = run(of, HERE, replicas=3, **DRIVERS[name])
    assert torch.equal(weights(result), weights(again))


def test_the_usual_driver_is_a_graph_where_it_can_be_captured() -> None:
    assert run(NOISY, HERE, replicas=2, driver="lockstep").environment["mode"] == "graphed"

    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = dense()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x) * (2.0 if x.sum().item() > 0 else 1.0)

    result = run(task(Reads, "points", 6), HERE, replicas=2)
    assert result.environment["driver"] == "loop"
    assert result.noise_floor == 0.0


@pytest.mark.parametrize("mode", ["traced", "graphed"])
@pytest.mark.parametrize("net", ["noisy", "ResNet-8", "transformer"])
def test_a_step_waits_for_nothing(net: str, mode: Any) -> None:
    of = NOISY if net == "noisy" else small(8)[net]
    device = torch.device(HERE)
    step, batches = TrainingStep(of, torch.float32, device), Batches(of, torch.float32, device)
    driver, streams = Lockstep(step, mode), Streams.of(0)
    state = step.start(0).map(lambda t: t.expand(4, *t.shape).clone())
    with deterministic_algorithms():
        state, _ = driver(state, batches.batch(streams, 0), 0)
        torch.cuda.set_sync_debug_mode("error")
        try:
            for index in (1, 2):
                state, losses = driver(state, batches.batch(streams, index), index)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert bool(losses.isfinite().all())


def test_a_graph_is_its_recording() -> None:
    device = torch.device(HERE)
    step = TrainingStep(NOISY, torch.float32, device)
    batches, streams = Batches(NOISY, torch.float32, device), Streams.of(0)
    ends = []
    for mode in ("traced", "graphed"):
        driver = Lockstep(step, mode)  # type: ignore[arg-type]
        state = step.start(0).map(lambda t: t.expand(5, *t.shape).clone())
        for index in range(6):
            batch = batches.batch(streams, index)
            torch.cuda.manual_seed_all(derive(streams.dropout, index))
            state, losses = driver(state, batch, index)
        ends.append((state.params, losses))
    assert torch.allclose(ends[0][0], ends[1][0], rtol=0, atol=1e-7)
    assert torch.allclose(ends[0][1], ends[1][1], rtol=1e-6)


@pytest.mark.parametrize("name", ["loop", "usual"])
def test_a_run_that_was_killed_goes_on_to_the_same_bits(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"replicas": 2, "record_every": 4, **DRIVERS[name]}
    kept: dict[str, Any] = {**asked, "out": tmp_path / "run", "checkpoint_seconds": 0}
    expected = weights(run(NOISY, HERE, **asked))
    advance = Replicas.advance

    def stopping(self: Replicas, index: int, **more: Any) -> None:
        if index == 6:  # no step that is tried before a run
            raise KeyboardInterrupt
        advance(self, index, **more)

    monkeypatch.setattr(Replicas, "advance", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(NOISY, HERE, **kept)
    monkeypatch.undo()
    assert torch.equal(weights(run(NOISY, HERE, **kept)), expected)


def test_verify_finds_the_same_bits_twice() -> None:
    found = wb.verify(NOISY, device=HERE)
    assert found.identical, found


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_trains_with_a_twin_at_zero(precision: Any) -> None:
    result = run(replace(NOISY, precision=precision), HERE, replicas=2)
    assert result.noise_floor == 0.0
    assert np.isfinite(weights(result).numpy()).all()


def test_metrics_are_those_of_the_processor() -> None:
    x, y = task(dense, "points", 1).data
    of = replace(small(8)["dense"], eval_data=(x[:64], y[:64]))
    asked: dict[str, Any] = {
        "metrics": ["l2", "accuracy", "cka", "barrier", "sharpness", "disagreement"],
        "dtype": torch.float64,
        "replicas": 2,
    }
    tables = [run(of, device, **asked).table for device in ("cpu", HERE)]
    keys = [c for c in tables[0].columns if c not in {"value"} and tables[0][c].dtype == object]
    assert (tables[0][keys].fillna("") == tables[1][keys].fillna("")).all().all()
    there, here = (t["value"].to_numpy(float) for t in tables)
    np.testing.assert_allclose(here, there, rtol=1e-5, atol=1e-9)


def test_what_compares_convolutional_nets_is_that_of_the_processor() -> None:
    """Points between nets go through one call there, one by one on a processor."""
    x, y = small(4)["ResNet-8"].data
    of = replace(small(4)["ResNet-8"], eval_data=(x[:48], y[:48]))
    asked: dict[str, Any] = {
        "metrics": ["l2", "cka", "barrier", "l2_aligned", "barrier_aligned", "ensemble"],
        "dtype": torch.float64,
        "replicas": 2,
    }
    tables = [run(of, device, **asked).table for device in ("cpu", HERE)]
    assert set(tables[0]["metric"]) == set(tables[1]["metric"])
    there, here = (t["value"].to_numpy(float) for t in tables)
    np.testing.assert_allclose(here, there, rtol=1e-5, atol=1e-8)


def test_base_seeds_are_runs_of_their_own() -> None:
    both = run(NOISY, HERE, replicas=2, seeds=(0, 1))
    assert both.noise_floor == 0.0


def test_twins_of_a_loop_of_ones_own() -> None:
    x, y = (t.to(HERE) for t in NOISY.data)

    def build(seed: int) -> dict[str, Any]:
        model = dense(0.2).to(HERE)
        return {"model": model, "optimizer": torch.optim.AdamW(model.parameters())}

    twins = wb.Twins(build, [wb.Gaussian(0.01)], replicas=2, steps=8, record_every=4)
    for copy in twins:
        for rows in copy.batches([slice(i, i + 32) for i in range(0, 128, 32)]):
            copy.parts["optimizer"].zero_grad()
            loss = F.cross_entropy(copy.model(x[rows]), y[rows])
            loss.backward()
            copy.parts["optimizer"].step()
            copy.step(loss)
    result = twins.result()
    assert result.noise_floor == 0.0
    assert weights(result).isfinite().all()
    assert 0 < result.convergence_ratio < float("inf")


def test_an_optimizer_without_a_pure_form() -> None:
    of = replace(NOISY, optimizer=lambda p: torch.optim.ASGD(p, lr=1e-2))
    result = run(of, HERE, replicas=2)
    assert result.noise_floor == 0.0
    assert torch.equal(reference(result), by_hand(of, torch.float32))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_closed_forms_are_found(dtype: torch.dtype) -> None:
    found = calibrate(device=HERE, dtype=dtype)
    wrong = found.table[found.table["verdict"] != "agrees"]
    assert found.agrees, wrong.to_string()
