"""What a task's options would be misread as is refused, with the line to write."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, TensorDataset

import wingbeat as wb
from wingbeat.task.signatures import AtStep

X = torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
Y = X.sum(1, keepdim=True)


def loss(model: Any, batch: Any) -> Any:
    return nn.functional.mse_loss(model(batch[0]), batch[1])


def task(**changes: Any) -> wb.Task:
    own = {
        "model": lambda: nn.Linear(2, 1),
        "loss": loss,
        "data": (X, Y),
        "optimizer": lambda params: optim.SGD(params, lr=0.1),
        "batch_size": 4,
        "steps": 6,
    }
    return wb.Task(**{k: v for k, v in {**own, **changes}.items() if v is not ...})


def run(made: wb.Task, perturbation: Any = None, **options: Any) -> wb.Result:
    own = {"replicas": 1, "driver": "loop", "metrics": ["l2"], "progress": False}
    return wb.run(made, perturbation or wb.Gaussian(0.01), **{**own, **options})


def of(batches: Any) -> dict[str, Any]:
    return {"data": ..., "batch_size": ..., "batches": batches}


def takes_default(model: Any, batch: Any, step: int = 0) -> Any:
    return loss(model, batch)


def takes_pair(model: Any, x: Any, y: Any) -> Any:
    return nn.functional.mse_loss(model(x), y)


def takes_four(model: Any, batch: Any, step: int, epoch: int) -> Any:
    return loss(model, batch)


class Shorter(IterableDataset[Any]):
    """Gives fewer batches each time that it is read."""

    def __init__(self) -> None:
        self.left = 5

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Iterator[Any]:
        self.left -= 1
        for _ in range(min(3, self.left)):
            yield X, Y


class Moving(IterableDataset[Any]):
    """Goes on where it was."""

    def __init__(self) -> None:
        self.at = 0

    def __iter__(self) -> Iterator[Any]:
        for _ in range(3):
            self.at += 1
            yield X + self.at, Y


class Restless(RandomSampler):
    """Draws from a source that nobody seeds."""

    def __iter__(self) -> Iterator[int]:
        import secrets

        return iter([secrets.randbelow(12) for _ in range(12)])


REFUSED: dict[str, tuple[Any, str]] = {
    "step with a default": ({"loss": takes_default}, "cannot be told whether it wants"),
    "a batch taken apart": ({"loss": takes_pair}, r"takes \(model, x, y\): write loss"),
    "a fourth argument": ({"loss": takes_four}, "write loss"),
    "after_step of one": ({"after_step": lambda model: None}, r"write after_step\(model, step\)"),
    "after_step, called": ({"after_step": 3}, r"write after_step\(model, step\)"),
    "no accumulation": ({"accumulate": 0}, "Task.accumulate is 0"),
    "another precision": ({"precision": "fp8"}, "Task.precision is 'fp8': use one of"),
    "a scaler, made": (
        {"precision": "fp16", "scaler": torch.amp.GradScaler("cpu")},
        "Task.scaler is a GradScaler: pass a function that makes one"),
    "a scaler of bf16": (
        {"precision": "bf16", "scaler": lambda: torch.amp.GradScaler("cpu")},
        "precision is 'bf16': only 'fp16' scales"),
    "a scaler that is off": (
        {"precision": "fp16", "scaler": lambda: torch.amp.GradScaler("cpu", enabled=False)},
        "a scaler that is disabled, as"),
    "a scaler of one's own": (
        {"precision": "fp16", "scaler": lambda: type("Mine", (torch.amp.GradScaler,), {})("cpu")},
        "makes a Mine: pass torch.amp.GradScaler"),
    "collate of tensors": ({"collate": list}, "which are cut by rows"),
    "no collate": ({"collate": 3, "data": TensorDataset(X, Y)}, "Task.collate is 3"),
    "collate of batches": ({**of([(X, Y)]), "collate": list}, "gives whole batches"),
    "a loader as data": ({"data": DataLoader(TensorDataset(X, Y))}, "pass it as batches="),
    "data twice": ({"batches": [(X, Y)]}, "Task.data is given too"),
    "batches of a size": ({**of([(X, Y)]), "batch_size": 4}, "Task.batch_size is given too"),
    "a generator": (of((X, Y) for _ in range(3)), "which can be read once"),
    "tensors as batches": (of((X, Y)), r"write data=\(x, y\)"),
    "no batch": (of([]), "Task.batches is empty"),
    "a number": (of(3), "pass a DataLoader, a list of batches"),
    "no data": ({"data": ...}, "Task.data is missing"),
    "no optimizer": ({"optimizer": ...}, "Task.optimizer is missing"),
    "no steps": ({"steps": ...}, "Task.steps is missing"),
    "no size": ({"batch_size": ...}, "Task.batch_size is None"),
    "a sampler that is over": ({"sampler": iter([1, 2])}, "can be read once"),
    "a sampler of indices": (
        {"sampler": RandomSampler(range(12)), "batch_size": ...},
        "gives indices of single samples: pass batch_size=",
    ),
    "two orders": ({"sampler": [1, 2], "sampling": "sequential"}, "leave one out"),
    "an index outside": ({"sampler": [1, 12]}, "gives the index 12, and the data have 12"),
    "no index": ({"sampler": ["a"]}, "it must give indices"),
    "no index at all": ({"sampler": []}, "gives no batch in pass 0"),
    "a start": ({"start": "ckpt.pt"}, r"pass wb.Start\(model="),
    "a stream to evaluate on": (
        {"eval_data": DataLoader(Moving(), None)}, "a loader over a stream"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_misread_is_refused(name: str) -> None:
    changes, words = REFUSED[name]
    with pytest.raises(wb.RequestError, match=words):
        _ = task(**changes).steps_per_epoch


AT_RUN: dict[str, tuple[Any, Any, str]] = {
    "another dtype": ({"precision": "bf16"}, {"dtype": torch.float64}, "dtype is float64"),
    "a scaler and a closure": (
        {"precision": "fp16", "optimizer": optim.LBFGS}, {},
        "LBFGS asks for the loss again within its step.*precision='bf16'"),
    "a stream that moves on": (of(Moving()), {}, "gives other batches the second time"),
    "a loader that is shorter": (of(Shorter()), {}, "has 2 batches and had, or says"),
    "a sampler nobody seeds": ({"sampler": Restless(range(12))}, {}, "another order the second"),
    "the model's optimizer, by another name": (
        {"optimizer": lambda m: optim.SGD(m.parameters(), lr=0.1)}, {},
        r"was called with the parameters and fails.*optimizer\(model\)"),
    "several optimizers": (
        {"optimizer": lambda params: (optim.SGD(params, lr=0.1), optim.SGD(params, lr=0.1))}, {},
        "wb.Twins"),
    "another order of a list": (of([(X, Y)]), {"perturbation": wb.DataOrder()}, "vary nothing"),
    "ragged samples": (
        {"data": [{"x": torch.ones(1 + i % 3)} for i in range(12)]}, {},
        "pass collate="),
}  # fmt: skip


@pytest.mark.parametrize("name", AT_RUN)
def test_what_cannot_be_trained_is_refused_before_compute(name: str) -> None:
    changes, options, words = AT_RUN[name]
    with pytest.raises(wb.RequestError, match=words):
        run(task(**changes), **options)


def test_several_losses_are_for_twins_alone() -> None:
    def pair(model: Any, batch: Any) -> Any:
        return loss(model, batch), loss(model, batch)

    with pytest.raises(wb.RequestError, match=r"several losses.*wb\.Twins"):
        run(task(loss=pair))


def test_tangents_of_such_an_update_are_refused() -> None:
    with pytest.raises(wb.RequestError, match="no tangent dynamics for a task with accumulate"):
        wb.lyapunov.training_spectrum(task(accumulate=2, steps=60), 1)


def test_a_loss_of_the_step_is_evaluated_at_the_last() -> None:
    made = task(loss=lambda model, batch, step: step)
    assert isinstance(made.loss, AtStep)
    assert made.loss(None, None) == 5
    assert made.loss(None, None, 2) == 2


def test_a_loss_with_settings_is_none_of_the_step() -> None:
    def focal(model: Any, batch: Any, gamma: float = 2.0) -> Any:
        return loss(model, batch)

    assert task(loss=focal).loss is focal


def test_a_loader_over_samples_is_taken_apart() -> None:
    made = task(**of(DataLoader(TensorDataset(X, Y), 5, drop_last=True)))
    assert (made.batches, made.batch_size, made.steps_per_epoch) == (None, 5, 2)
    assert len(made.data) == 12
