"""Verify: identical where it is, and the right step and tensor where it is not."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
import torch
from torch import nn

import wingbeat as wb
from wingbeat.execution.verify import Break, first_break
from wingbeat.replicas.drivers import lockstep, recorded, selection
from wingbeat.replicas.drivers.recordings import RECORDINGS


def counted():
    """Count in a generator, whose state nobody can copy."""
    number = 0
    while True:
        yield number
        number += 1


STATE = counted()


class Restless(nn.Module):
    """A layer that changes on one call of all that are ever made: no run repeats it."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.last = nn.Linear(3, 1)
        self.at = at

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x)
        if next(STATE) == self.at:
            hidden = hidden.detach()  # the gradient of the first layer is lost once
        return self.last(hidden)


def task_of(model, **options) -> wb.Task:
    return wb.Task(
        model=model,
        loss=lambda m, batch: (m(batch[0]) ** 2).mean(),
        data=(torch.linspace(0, 1, 24).reshape(8, 3),),
        optimizer=lambda params: torch.optim.SGD(params, lr=0.1),
        batch_size=4,
        steps=10,
        **options,
    )


def noisy() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))


def test_dropout_and_batch_norm_repeat_in_both_drivers() -> None:
    for driver in ("loop", "lockstep"):
        found = wb.verify(task_of(noisy), driver=driver)
        assert found.identical, (driver, found.repeated, found.twins)
        assert [int(s) for s in found.trail] == list(range(11))
        assert "1.running_mean" in found.trail["3"]


def test_the_two_drivers_leave_trails_that_can_be_compared(tmp_path) -> None:
    task = task_of(noisy)
    wb.verify(task, driver="loop", dtype=torch.float64).write(tmp_path / "trail.json")
    found = wb.verify(task, driver="lockstep", against=tmp_path / "trail.json")
    assert found.against is not None
    assert found.against.step == 0  # float32 weights are other numbers from the start
    assert found.changed["dtype"] == ("float64", "float32")
    assert found.changed["driver"] == ("loop", "lockstep")


def test_a_model_that_does_not_repeat_is_found_out_at_its_step() -> None:
    global STATE  # noqa: PLW0603
    STATE = counted()
    # One call for the first loss, then two a step: call 1 + 2·4 is the reference's at step 4.
    found = wb.verify(task_of(lambda: Restless(at=1 + 2 * 4)), driver="loop")
    assert not found.identical
    assert found.twins == Break(step=5, tensor="first.weight", tensors=2)
    assert found.repeated == Break(step=5, tensor="first.weight", tensors=2)


FIRST_BATCH = {
    "a length": lambda m, b: m(b[0])[: len((b[0][:, 0] > 0.4).nonzero())].square().mean(),
    "a number": lambda m, b: m(b[0]).square().mean() * (1 + sum(b[0][:, 0].tolist())),
}


@pytest.mark.parametrize("kind", FIRST_BATCH)
def test_a_recording_of_the_first_batch_is_held_to_the_plain_loop(kind, monkeypatch) -> None:
    """With the refusal and the proofs taken out, the plain loop beside it still tells."""
    monkeypatch.setattr(recorded, "refuse_dynamic", lambda graph: None)
    monkeypatch.setattr(recorded, "ReadsRefused", contextlib.nullcontext)
    monkeypatch.setattr(lockstep.Lockstep, "prove", lambda *a: None)
    monkeypatch.setattr(selection, "hold_to_plain", lambda *a: None)
    RECORDINGS.clear()
    try:
        found = wb.verify(replace(task_of(noisy), loss=FIRST_BATCH[kind]), driver="lockstep")
    finally:
        RECORDINGS.clear()  # what was recorded without the refusal serves nobody else
    assert found.environment["mode"] == "traced"
    assert (found.repeated, found.twins) == (None, None)
    assert found.plain is not None
    assert 2 <= found.plain.step <= 4  # the second batch is the first that was not recorded
    assert not found.identical


@pytest.mark.parametrize("kind", FIRST_BATCH)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_such_a_loss_is_not_recorded(kind, dtype) -> None:
    found = wb.verify(replace(task_of(noisy), loss=FIRST_BATCH[kind]), dtype=dtype)
    assert found.identical
    assert found.environment["mode"] != "traced"


def test_fewer_steps_and_sparser_digests() -> None:
    found = wb.verify(task_of(noisy), driver="loop", steps=6, every=3)
    assert list(found.trail) == ["0", "3", "6"]


def test_trails_are_compared_over_the_steps_they_share() -> None:
    a = {"0": {"w": "x"}, "9": {"w": "y"}, "10": {"v": "p", "w": "q"}}
    b = {"0": {"w": "x"}, "10": {"v": "p", "w": "r"}}
    assert first_break(a, b) == Break(step=10, tensor="w", tensors=1)
    assert first_break(a, a) is None


def test_a_model_that_is_built_otherwise_each_time() -> None:
    seeds = iter(range(100))

    def build() -> nn.Module:
        torch.manual_seed(next(seeds))  # as from the clock
        return nn.Linear(3, 1)

    found = wb.verify(task_of(build), driver="loop", progress=False)
    assert found.repeated == Break(0, "weight", 2)
    assert repr(found).startswith("differs: two runs from step 0, tensor weight and 1 more on (11 ")
    again = wb.verify(task_of(noisy), driver="loop", progress=False)
    assert repr(again) == "repeats itself bit for bit (11 recorded steps)"
