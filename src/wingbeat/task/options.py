"""Bring a task's options into one form: a loader into its parts, a loss with its step bound.

A ``task`` is here what is about to be one, and its checks are not over: hence no type of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from wingbeat.errors import RequestError, require
from wingbeat.task.data import Collated, is_tensors
from wingbeat.task.order import Order
from wingbeat.task.precision import TYPES, check_scaler
from wingbeat.task.replay import given
from wingbeat.task.signatures import check_after_step, with_step
from wingbeat.task.starting_point import StartingPoint


def settle(task: Any) -> None:
    """Check a task's options and bring them into the form that the rest reads.

    Raises:
        RequestError: two options say different things, or one is of a kind that would be misread.
    """
    _require_given(task)
    _settle_data(task)
    _settle_collate(task)
    _check_sampler(task)
    first = _checked_start(task)
    check_after_step(task.after_step)
    known = (None, *TYPES)
    require(task.precision in known, "Task.precision", task.precision, f"use one of {known}")
    check_scaler(task.scaler, task.precision)
    if callable(task.loss) and not isinstance(task.loss, type):
        _put(task, "loss", with_step(task.loss, first + task.steps - 1))


def _put(task: Any, name: str, value: Any) -> None:
    object.__setattr__(task, name, value)


def _require_given(task: Any) -> None:
    for name in ("optimizer", "steps"):
        if getattr(task, name) is None:
            raise RequestError(f"Task.{name} is missing: every task needs one")
    whole = isinstance(task.steps, int) and not isinstance(task.steps, bool) and task.steps >= 1
    require(whole, "Task.steps", task.steps, "use a whole number of at least 1")
    if task.data is None and task.batches is None:
        raise RequestError("Task.data is missing: pass data= and batch_size=, or batches=")
    if isinstance(task.data, DataLoader):
        raise RequestError("Task.data is a DataLoader: pass it as batches=, without batch_size=")


def _settle_data(task: Any) -> None:
    """Take a loader over a data set apart; leave other sources of batches as they are."""
    if task.batches is None:
        return
    beside = [n for n in ("data", "batch_size", "sampler") if getattr(task, n) is not None]
    if beside:
        what = "the data set, the size of batches and their order"
        raise RequestError(
            f"Task.batches says already what the batches are, and Task.{beside[0]} is given too: "
            f"leave one of them out (a DataLoader brings {what})"
        )
    if isinstance(task.batches, tuple) and any(isinstance(p, Tensor) for p in task.batches):
        raise RequestError(
            "Task.batches is a tuple of tensors: write data=(x, y) with batch_size=, or a list of "
            "batches, batches=[(x, y)]"
        )
    loader = task.batches
    if not _has_samples(loader):
        if task.collate is not None:
            raise RequestError("Task.collate joins samples, and Task.batches gives whole batches")
        given(loader)
        return
    _put(task, "data", loader.dataset)
    _put(task, "sampler", _index_loader(loader))
    _put(task, "batch_size", loader.batch_size)
    if task.collate is None:
        _put(task, "collate", _collate_of(loader))
    _put(task, "batches", None)


def _index_loader(loader: DataLoader[Any]) -> DataLoader[Any]:
    """Return a loader that gives the indices of its batches in place of samples.

    It draws from its generator what the loader itself draws, so that the order is the same.
    """
    return DataLoader(
        _Indices(len(loader.dataset)),  # type: ignore[arg-type]
        batch_sampler=loader.batch_sampler,
        collate_fn=_as_they_are,
        generator=loader.generator,
    )


@dataclass(frozen=True)
class _Indices(Dataset[int]):
    """A data set whose samples are their own indices."""

    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        return int(index)


def _as_they_are(indices: list[int]) -> list[int]:
    return indices


def _has_samples(loader: Any) -> bool:
    """Tell a loader whose batches are joined from samples that can be asked for one by one."""
    return (
        isinstance(loader, DataLoader)
        and not isinstance(loader.dataset, IterableDataset)
        and loader.batch_sampler is not None
    )


def _collate_of(loader: DataLoader[Any]) -> Any:
    return None if loader.collate_fn is default_collate else loader.collate_fn


def _settle_collate(task: Any) -> None:
    require(
        task.collate is None or callable(task.collate),
        "Task.collate",
        task.collate,
        "pass a function samples -> batch",
    )
    if isinstance(task.eval_data, DataLoader):
        loader = task.eval_data
        if not _has_samples(loader):
            raise RequestError(
                "Task.eval_data is a loader over a stream: pass a data set with a length, or "
                "tensors"
            )
        own = _collate_of(loader)
        _put(task, "eval_data", Collated(loader.dataset, own) if own else loader.dataset)
    if task.collate is None:
        return
    if is_tensors(task.data):
        raise RequestError(
            "Task.collate joins samples of a data set, and Task.data are tensors, which are cut by "
            "rows: leave collate out, or pass a data set (a list of samples, for example)"
        )
    if isinstance(task.data, Collated):
        _put(task, "data", task.data.samples)
    for name in ("data", "eval_data"):
        value = getattr(task, name)
        if value is not None and not is_tensors(value) and not isinstance(value, Collated):
            _put(task, name, Collated(value, task.collate))


def _check_sampler(task: Any) -> None:
    sampler = task.sampler
    if sampler is None:
        return
    fine = hasattr(sampler, "__iter__") or callable(sampler)
    advice = "pass a sampler of torch, or a function epoch -> indices"
    require(fine, "Task.sampler", sampler, advice)
    if task.batch_size is None:  # batches come as they are: their largest stands for all
        size = getattr(sampler, "batch_size", None)
        _put(task, "batch_size", 1)
        order = Order(task)
        if not size and not order.gives_batches:
            raise RequestError(
                "Task.sampler gives indices of single samples: pass batch_size=, or a batch sampler"
            )
        _put(task, "batch_size", size or max(map(len, order.first())))
    if hasattr(sampler, "__next__"):
        raise RequestError(
            "Task.sampler can be read once, and every pass needs indices: pass a sampler, a list, "
            "or a function epoch -> indices"
        )
    if task.sampling != "shuffle":
        raise RequestError(
            f"Task.sampling is {task.sampling!r} and Task.sampler is given too: leave one out"
        )


def _checked_start(task: Any) -> int:
    if task.start is None:
        return 0
    fine = isinstance(task.start, StartingPoint)
    require(fine, "Task.start", task.start, "pass wb.Start(model=..., optimizer=..., step=...)")
    return int(task.start.step)
