"""A task in five lines, as an interpreter shows it."""

from __future__ import annotations

import functools
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from wingbeat.task.data import is_tensors, len_of


def told(task: Any) -> str:
    """Return name, model, data, optimizer and length of a `Task`, a line each; builds nothing."""
    held_out = "" if task.eval_data is None else f"; {_data(task.eval_data)} to evaluate"
    given = f"batches {_called(task.batches)}" if task.data is None else _data(task.data)
    epoch = "" if task.data is None else f", {task.steps_per_epoch:,} to a pass"
    schedule = "" if task.schedule is None else f", schedule {_called(task.schedule)}"
    length = f"{task.steps:,} steps, batches of {task.batch_size}{epoch}, seed {task.seed}"
    lines = (
        f"Task {task.name!r}" if task.name else "Task without a name",
        f"  model      {_called(task.model)}",
        f"  data       {given}{held_out}",
        f"  optimizer  {_called(task.optimizer)}{schedule}",
        f"  training   {length}",
    )
    return "\n".join(lines)


def _called(function: Any) -> str:
    """Return how a function is written, as far as that is known, in one line.

    >>> _called(functools.partial(max, 1, key=abs)), _called(lambda: 0)
    ('max(1, key=abs)', 'lambda in wingbeat.task.told')
    """
    if isinstance(function, functools.partial):
        given = [*map(_short, function.args)]
        given += [f"{name}={_short(value)}" for name, value in function.keywords.items()]
        return f"{_called(function.func)}({', '.join(given)})"
    name = str(getattr(function, "__name__", type(function).__name__))
    return f"lambda in {function.__module__}" if name == "<lambda>" else name


def _short(value: object) -> str:
    if isinstance(value, Tensor | nn.Module):
        return type(value).__name__
    text = str(getattr(value, "__name__", None) or repr(value))
    text = " ".join(text.split())
    return text if len(text) <= 40 else f"{text[:39]}…"


def _data(data: Any) -> str:
    count = f"{len_of(data):,} samples"
    if not is_tensors(data):
        return f"{count} of {type(data).__name__}"
    kinds = (
        f"{tuple(leaf.shape[1:])} {str(leaf.dtype).removeprefix('torch.')}"
        for leaf in pytree.tree_leaves(data)
    )
    return f"{count} of {', '.join(kinds)}"
