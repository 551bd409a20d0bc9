"""Runs with further options: killed and resumed to the same bits; another value is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from options import OPTIONS, base, clamped, masking, max_norm, noisy, sequences, shuffled, weighted
from test_plain_options import dtype_of, outcome, run
from torch import nn
from torch.utils.data import BatchSampler, RandomSampler, SequentialSampler

import wingbeat as wb
from wingbeat.replicas.replicas import Replicas

RESUMED = {
    "fp16, overflowing, AdamW, accumulated, clipped": "loop",
    "fp16": "lockstep",
    "average outside": "loop",
    "average in buffers": "lockstep",
    "bucketing loader": "loop",
    "stream": "loop",
    "random masks": "lockstep",
    "loss that switches": "loop",
    "accumulate": "loop",
}


class Killed(Exception):
    """Stands for the end of a process."""


SLOW = ("average in buffers", "random masks")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in RESUMED]
)
def test_killed_and_resumed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case, driver = OPTIONS[name], RESUMED[name]
    options = {"out": tmp_path / "run", "checkpoint_seconds": 0.0}
    advance = Replicas.advance
    steps = []

    def dying(self: Replicas, index: int, **more: Any) -> None:
        steps.append(index)
        if len(steps) > 2 and index == 9:  # before, the choice of a driver tries the first steps
            raise Killed
        advance(self, index, **more)

    monkeypatch.setattr(Replicas, "advance", dying)
    with pytest.raises(Killed):
        run(case, driver, dtype_of(case), **options)
    monkeypatch.setattr(Replicas, "advance", advance)
    again, whole = run(case, driver, dtype_of(case), **options), outcome(name, driver)
    assert again.noise_floor == 0.0
    for one, other in zip(again.trajectory, whole.trajectory, strict=True):
        for key, tensor in {**one.params, **one.buffers}.items():
            assert torch.equal(tensor, {**other.params, **other.buffers}[key]), (key, one.step)
    assert torch.equal(
        torch.as_tensor(again.trajectory.losses).nan_to_num(),
        torch.as_tensor(whole.trajectory.losses).nan_to_num(),
    )


def later(model: nn.Module, batch: Any, step: int) -> Any:
    """Take a step and do not use it."""
    return nn.functional.mse_loss(model(batch[0]), batch[1]) + 0.0 * step


def other(step: int) -> Any:
    """Make other batches."""
    return torch.randn(6, 4), torch.randn(6, 1)


def one(step: int) -> Any:
    """Make batches."""
    return torch.randn(6, 4), torch.zeros(6, 1)


LOADED = {"data": ..., "batch_size": ...}
CHANGED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "loss of the step": (base(), base(loss=later), "loss"),
    "after_step": (base(after_step=clamped), base(after_step=max_norm), "after_step"),
    "no after_step": (base(after_step=clamped), base(), "after_step"),
    "accumulate": (base(accumulate=2), base(accumulate=3), "accumulate: there 2, now 3"),
    "precision": (base(precision="bf16"), base(), "precision: there 'bf16', now None"),
    "collate": (sequences(), sequences(collate=masking), "collate"),
    "sampler": (
        base(sampler=SequentialSampler(range(23))),
        base(sampler=RandomSampler(range(23))),
        "sampler",
    ),
    "loader": (
        base(**LOADED, batches=shuffled()[0]),
        base(**LOADED, batches=weighted()[0]),
        "sampler",
    ),
    "function": (base(**LOADED, batches=one), base(**LOADED, batches=other), "batches"),
    "list": (
        base(**LOADED, batches=[one(0)]),
        base(**LOADED, batches=[one(0), one(1)]),
        "batches",
    ),
    "start": (
        base(start=wb.Start(noisy().state_dict(), step=3), model=noisy),
        base(start=wb.Start(noisy().state_dict(), step=4), model=noisy),
        "start.step: there 3, now 4|initial_weights",
    ),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_folder_with_another_value_is_refused(name: str, tmp_path: Path) -> None:
    before, after, field = CHANGED[name]

    def go(recipe: dict[str, Any]) -> wb.Result:
        task = wb.Task(**{**recipe, "steps": 2})
        options = {"replicas": 1, "driver": "loop", "metrics": ["l2"], "progress": False}
        return wb.run(task, wb.Gaussian(0.01), out=tmp_path / "run", **options)

    go(before)
    with pytest.raises(wb.StoreError, match=f"holds another request.*({field})"):
        go(after)


def test_requests_of_before_keep_their_description(tmp_path: Path) -> None:
    """A task without the further options is described by the fields that there were."""
    task = wb.Task(**base(steps=2))
    found = wb.run(task, wb.Gaussian(0.01), replicas=1, driver="loop", metrics=["l2"])
    assert set(found.condition["task"]) == {
        *("name", "model", "loss", "data", "optimizer", "batch_size", "steps", "seed"),
        *("schedule", "drop_last", "sampling", "augment", "clip_norm"),
    }


def test_a_batch_sampler_says_its_size() -> None:
    task = wb.Task(**base(sampler=BatchSampler(RandomSampler(range(23)), 5, False), batch_size=...))
    assert (task.batch_size, task.steps_per_epoch) == (5, 5)
