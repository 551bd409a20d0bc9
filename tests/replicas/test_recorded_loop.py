"""The recorded loop: the numbers of a loop by hand, bits of no company, a measured choice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from driving import flat, plain, relative
from torch import Tensor, nn

import wingbeat as wb
from wingbeat.replicas.drivers import recorded_loop
from wingbeat.replicas.drivers.recorded_loop import MODES, RecordedLoop, first_trial
from wingbeat.replicas.fork import twin
from wingbeat.replicas.replicas import Replicas
from wingbeat.task.batches import Batches, Streams
from wingbeat.task.step import TrainingStep
from wingbeat.task.task import Task

STEPS = 6
IMAGES = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(1))
CLASSES = torch.arange(20) % 4


class Net(nn.Module):
    """Two convolutions, a norm of batches between them, and a rate of dropout."""

    def __init__(self, dropout: float = 0.0, reshapes: bool = False) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, bias=False), nn.Conv2d(6, 5, 3, stride=2)
        self.norm, self.drop, self.head = nn.BatchNorm2d(6), nn.Dropout(dropout), nn.Linear(5, 4)
        self.reshapes = reshapes

    def forward(self, x: Tensor) -> Tensor:
        """Return scores ``(batch, 4)``."""
        if self.reshapes:  # a view that only images with their rows last have
            x = x.view(len(x), -1).view(x.shape)
        hidden = F.relu(self.second(self.drop(F.relu(self.norm(self.first(x))))))
        return self.head(hidden.mean((2, 3)))


def entropy(model: nn.Module, batch: Any) -> Tensor:
    """Cross-entropy."""
    return F.cross_entropy(model(batch[0]), batch[1])


def task(**net: Any) -> Task:
    return Task(
        model=partial(Net, **net),
        loss=entropy,
        data=(IMAGES, CLASSES),
        optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=1e-3),
        batch_size=8,
        steps=STEPS,
    )


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Give torch another number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def trained(of: Task, mode: str, copies: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the weights of equal replicas at the end ``(copies, P)``."""
    cpu = torch.device("cpu")
    step = TrainingStep(of, dtype, cpu)
    replicas = Replicas(RecordedLoop(step, mode), Batches(of, dtype, cpu), 1)
    start = step.start(of.seed).map(lambda t: t.unsqueeze(0))
    streams = Streams.of(of.seed)
    replicas.place([twin(str(i), streams) for i in range(copies)], [start] * copies)
    for index in range(of.steps):
        replicas.advance(index)
    assert replicas.take_losses().shape == (of.steps, copies)
    return replicas.snapshot()[0]


@pytest.mark.parametrize(
    "mode", ["channels_last", pytest.param("contiguous", marks=pytest.mark.slow)]
)
def test_a_loop_by_hand_gives_the_same_weights(mode: str) -> None:
    model = plain(task()).model
    expected = torch.cat([p.detach().flatten() for p in model.parameters()])
    found = trained(task(), mode, 1, torch.float64)
    assert relative(found, expected[None]) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES[:2])
def test_a_compiled_step_gives_the_same_weights(mode: str) -> None:
    model = plain(task(dropout=0.3) if mode == "compiled" else task()).model
    expected = torch.cat([p.detach().flatten() for p in model.parameters()])
    found = trained(task(dropout=0.3) if mode == "compiled" else task(), mode, 2, torch.float64)
    assert relative(found[:1], expected[None]) < 1e-12
    assert torch.equal(found[0], found[1])


@pytest.mark.parametrize("dropout", [0.0, pytest.param(0.3, marks=pytest.mark.slow)])
def test_bits_depend_neither_on_company_nor_on_cores(dropout: float) -> None:
    of = task(dropout=dropout)
    with threads(1):
        alone = trained(of, "channels_last", 1)
    with threads(2):
        several = trained(of, "channels_last", 5)
        assert torch.get_num_threads() == 2
    assert all(torch.equal(row, alone[0]) for row in several)


@pytest.mark.slow
def test_an_error_of_one_replica_reaches_the_caller() -> None:
    of, cpu = task(), torch.device("cpu")
    with threads(2):
        step = TrainingStep(of, torch.float32, cpu)
        driver = RecordedLoop(step, "contiguous")
        replicas = Replicas(driver, Batches(of, torch.float32, cpu), 1)
        start = step.start(0).map(lambda t: t.unsqueeze(0))
        replicas.place([twin(str(i), Streams.of(0)) for i in range(3)], [start] * 3)
        replicas.advance(0)
        replicas.parts[1].state = replicas.parts[1].state.map(lambda t: t.to(torch.complex64))
        with pytest.raises(wb.DriverError, match="step 1 cannot run recorded"):
            replicas.advance(1)


def test_a_stack_is_refused() -> None:
    step = TrainingStep(task(), torch.float32, torch.device("cpu"))
    two = step.start(0).map(lambda t: torch.stack([t, t]))
    with pytest.raises(wb.DriverError, match="not a stack of 2"):
        RecordedLoop(step, "contiguous")(two, (IMAGES[:8], CLASSES[:8]), 0)


def run(of: Task, **options: Any) -> wb.Result:
    return wb.run(of, wb.Gaussian(0.01), replicas=1, metrics=["l2"], progress=False, **options)


@pytest.mark.slow
def test_a_run_says_how_it_was_executed_and_its_twin_is_equal() -> None:
    result = run(task(), driver="recorded")
    facts = {k: result.environment[k] for k in ("driver", "mode", "chunk")}
    assert facts == {"driver": "recorded", "mode": "channels_last", "chunk": 1}
    assert result.noise_floor == 0.0


@pytest.mark.slow
@pytest.mark.parametrize(
    "of",
    [task(reshapes=True), task(dropout=0.3), replace(task(), data=(IMAGES[:, 0], CLASSES))],
    ids=["a view of images", "a mask drawn in the order of memory", "no images"],
)
def test_what_channels_last_would_change_runs_contiguous(of: Task) -> None:
    if of.data[0].dim() == 3:
        of = replace(of, model=partial(nn.Sequential, nn.Flatten(), nn.Linear(64, 4)))
    result = run(of, driver="recorded")
    assert result.environment["mode"] == "contiguous"
    expected = run(of, driver="loop").trajectory
    last, same = result.trajectory.at(STEPS), expected.at(STEPS)
    assert relative(flat(last), flat(same)) < 1e-5


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    of = task()
    whole = run(of, driver="recorded", out=tmp_path / "whole")
    begun = tmp_path / "begun"
    run(of, driver="recorded", out=begun, checkpoint_seconds=0)
    for name in ("sealed.json", "members.json"):
        (begun / name).unlink()
    for file in (begun / "snapshots").glob("*.safetensors"):
        if int(file.stem) > 2:
            file.unlink()
    again = run(of, driver="recorded", out=begun)
    for step in whole.trajectory.steps:
        a, b = whole.trajectory.at(step), again.trajectory.at(step)
        assert torch.equal(flat(a), flat(b))


@pytest.mark.slow
def test_auto_takes_it_only_where_it_was_faster(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from wingbeat.replicas.drivers.selection import DriverSelector

    slow_stack = {"traced": 100.0, "loop": 50.0, "channels_last": 30.0}

    def told(self: DriverSelector, driver: Any, *_: Any, **__: Any) -> float:
        return slow_stack["loop" if driver.name == "loop" else driver.mode]

    monkeypatch.setattr(DriverSelector, "_time", told)
    monkeypatch.setattr(recorded_loop, "_TRIAL_SECONDS", 0.0)
    monkeypatch.setenv("WINGBEAT_CACHE", str(tmp_path / "a"))
    assert run(task()).environment["driver"] == "recorded"
    slow_stack["channels_last"] = 48.0
    monkeypatch.setenv("WINGBEAT_CACHE", str(tmp_path / "b"))
    found = run(task()).environment
    assert found["driver"] == "loop"
    assert found["driver_timings_ms"]["recorded/channels_last"] == 48.0


def test_what_is_tried_depends_on_what_is_left() -> None:
    assert first_trial(1.0, None, 0) == ()
    assert first_trial(100.0, None, 1) == ("channels_last",)
    assert first_trial(100.0, None, 2) == ()
    assert first_trial(1000.0, None, 0) == ("channels_last", "compiled_channels_last")
    assert first_trial(1000.0, False, 0) == ("channels_last",)
    assert first_trial(100.0, True, 0) == ("channels_last", "compiled_channels_last")
