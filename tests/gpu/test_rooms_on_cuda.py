"""On a GPU: every metric, every perturbation, scaled losses, the recorded loop, a study.

``pytest -m gpu`` runs it where there is a CUDA device; with ``GPU_TEST_DEVICE=cpu:0`` it runs on a
processor, to try the tests themselves.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import wingbeat as wb
from benchmarks.gpu import dense, run, small, task, weights
from wingbeat.determinism import derive, deterministic_algorithms
from wingbeat.lyapunov import training_spectrum
from wingbeat.measure.metric import METRICS
from wingbeat.replicas.perturb import PERTURBATIONS
from wingbeat.study.condition import Condition
from wingbeat.study.run import run_study
from wingbeat.study.runner.inline import InlineRunner
from wingbeat.task.batches import Batches, Streams

HERE = os.environ.get("GPU_TEST_DEVICE", "cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        HERE.startswith("cuda") and not torch.cuda.is_available(), reason="no CUDA device"
    ),
]
ROWS = 96


def measured() -> wb.Task:
    """A net with a hidden layer, held-out data and classes: what every metric needs."""
    draws = torch.Generator().manual_seed(1)
    x = torch.randn(2 * ROWS, 8, generator=draws)
    y = (x[:, 0] * x[:, 1] > 0).long() + 2 * (x[:, 2] > 0).long()
    return wb.Task(
        model=lambda: nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 4)),
        loss=lambda m, b: F.cross_entropy(m(b[0]), b[1]),
        data=(x[:ROWS], y[:ROWS]),
        eval_data=(x[ROWS:], y[ROWS:]),
        optimizer=lambda p: torch.optim.SGD(p, lr=0.2, momentum=0.9),
        batch_size=16,
        steps=12,
    )


@pytest.mark.parametrize("name", METRICS.names())
def test_a_metric_is_that_of_the_processor(name: str) -> None:
    """In double precision, of the same weights up to rounding."""
    asked: dict[str, Any] = {"metrics": [name], "dtype": torch.float64, "replicas": 2}
    asked |= {"record_every": 4, "driver": "lockstep"}
    there, here = (run(measured(), device, **asked).table for device in ("cpu", HERE))
    assert len(there) > 0
    keys = [c for c in there.columns if c != "value" and there[c].dtype == object]
    assert (there[keys].fillna("") == here[keys].fillna("")).all().all()
    values = [t["value"].to_numpy(float) for t in (here, there)]
    np.testing.assert_allclose(*values, rtol=1e-6, atol=1e-9)


ARGUMENTS: dict[str, dict[str, Any]] = {
    "gaussian": {"scale": 0.01},
    "direction": {"scale": 0.01},
    "batchgradient": {"scale": 0.01},
    "ulp": {"n": 3},
}


def perturbation(name: str) -> Any:
    """A perturbation of a kind; one that has to have arguments gets them from above."""
    given = dict(ARGUMENTS.get(name, {}))
    if name == "direction":
        model = measured().model()
        given["tensors"] = {k: torch.ones_like(p) for k, p in model.named_parameters()}
    return PERTURBATIONS.find(name)(**given)


@pytest.mark.parametrize("name", [n for n in PERTURBATIONS.names() if n != "augmentation"])
def test_a_perturbation_is_that_of_the_processor(name: str) -> None:
    of = measured()
    asked: dict[str, Any] = {"replicas": 2, "metrics": ["l2"], "record_every": 4}
    asked |= {"dtype": torch.float64, "progress": False}
    ends = [weights(wb.run(of, perturbation(name), device=d, **asked)) for d in ("cpu", HERE)]
    torch.testing.assert_close(ends[1], ends[0], rtol=1e-9, atol=1e-11)


def scaler() -> torch.amp.GradScaler:
    """Return one that overflows now and then: its scale doubles after every third update."""
    return torch.amp.GradScaler(torch.device(HERE).type, init_scale=2.0**18, growth_interval=3)


def scaled_by_hand(of: wb.Task) -> tuple[torch.Tensor, int]:
    """Train in half precision as scripts do; returns weights and how many updates were left out."""
    device, amp, left = torch.device(HERE), scaler(), 0
    batches, streams = Batches(of, torch.float32, device), Streams.of(of.seed)
    torch.manual_seed(of.seed)
    model = of.model().to(device)
    optimizer = of.optimizer(model.parameters())
    with deterministic_algorithms():
        for index in range(of.steps):
            batch = batches.batch(streams, index)
            torch.manual_seed(derive(streams.dropout, index))
            optimizer.zero_grad()
            with torch.autocast(device.type, torch.float16):
                loss = of.loss(model, batch)
            amp.scale(loss).backward()
            before = amp.get_scale()
            amp.step(optimizer)
            amp.update()
            left += amp.get_scale() < before
    return torch.cat([p.detach().flatten() for p in model.parameters()]).cpu(), left


@pytest.mark.parametrize("driver", ["loop", "lockstep"])
def test_a_scaled_loss_in_half_precision_is_that_of_a_loop_by_hand(driver: Any) -> None:
    # A large eps: else a gradient of 0 ± a half's rounding is a whole step of AdamW.
    own: dict[str, Any] = {"optimizer": lambda p: torch.optim.AdamW(p, lr=1e-3, eps=1e-3)}
    of = replace(task(dense, "points", 20), precision="fp16", scaler=scaler, **own)
    result = run(of, HERE, replicas=3, driver=driver)
    assert result.environment["driver"] == driver
    assert result.noise_floor == 0.0
    last = list(result.trajectory)[-1]
    found = torch.cat([t[0].flatten() for t in last.params.values()])
    expected, left = scaled_by_hand(of)
    assert left > 0
    distance = float((found - expected).norm() / expected.norm())
    # The loop is the same program; lock step rounds halves in products of other shapes.
    assert distance == 0.0 if driver == "loop" else distance < 2e-3


def test_the_recorded_loop_trains_as_the_plain_one() -> None:
    of = small(8)["ResNet-8"]
    asked: dict[str, Any] = {"replicas": 2, "dtype": torch.float64}
    plain = weights(run(of, "cpu", driver="loop", **asked))
    here = run(of, HERE, driver="recorded", **asked)
    assert here.environment["driver"] == "recorded"
    assert float((weights(here) - plain).norm() / plain.norm()) < 1e-9
    assert here.noise_floor == 0.0


def test_one_weight_of_many_copies_is_moved_and_all_else_is_equal() -> None:
    result = wb.run(measured(), wb.SingleWeight(1e-3), device=HERE, replicas=5, metrics=["l2"],
                    record_every=4, driver="lockstep", progress=False)  # fmt: skip
    first = next(iter(result.trajectory))
    moved = torch.stack([torch.cat([t[i].flatten() for t in first.params.values()])
                         for i in range(len(next(iter(first.params.values()))))])  # fmt: skip
    changed = (moved != moved[0]).sum(1)
    assert sorted(changed.tolist())[-5:] == [1] * 5


def test_a_study_trains_there_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    place = "wingbeat.tasks.dense:circles_task"
    grid = [
        Condition(
            place, {"epochs": 1, "lr": lr}, replicas=2, metrics=("l2", "accuracy"), device=HERE
        )
        for lr in (0.01, 0.02)
    ]
    run_study(grid[:1], tmp_path, InlineRunner())
    whole = run_study(grid, tmp_path, InlineRunner())
    again = run_study(grid, tmp_path / "again", InlineRunner())
    assert not whole.failures
    columns = ["key", "final_l2", "noise_floor"]
    assert whole.conditions[columns].equals(again.conditions[columns])
    assert (whole.conditions["noise_floor"] == 0.0).all()


def test_onset_and_sources_of_noise_are_found() -> None:
    of = replace(measured(), steps=8)
    asked: dict[str, Any] = {"device": HERE, "replicas": 5, "progress": False}
    onset = wb.find_onset(of, "l2", threshold=1e-6, perturbation=wb.Gaussian(0.01), **asked)
    sources = wb.noise_sources(of, ("init", "order", "ulp"), metrics=["eval_loss"], **asked)
    for found in (onset, sources):
        assert found.environment["device"]


def test_exponents_of_the_training_map_are_those_of_the_processor() -> None:
    asked: dict[str, Any] = {"k": 2, "warmup": 2, "dtype": torch.float64}
    there, here = (
        training_spectrum(measured(), device=device, **asked) for device in ("cpu", HERE)
    )
    found, expected = (
        np.array([run.parameter_exponents for run in one.runs]) for one in (here, there)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
