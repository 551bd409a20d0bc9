"""What to write instead: things handed over in a form that would be misread.

Each mistake gets one sentence that names what came and the line that works.
"""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from wingbeat.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

_NUMBERS = frozenset(("lr", "momentum", "dampening", "weight_decay", "betas", "eps", "alpha"))
"""Options of torch's optimizers that are numbers, which torch takes infinite and undefined too."""
_PREDICTIONS = frozenset(
    ("input", "inputs", "output", "outputs", "pred", "preds", "prediction", "predictions")
) | frozenset(("logits", "scores", "y_pred", "y_hat", "yhat"))
"""Names of the first argument of a criterion; that of a task's loss is the model."""


def check_functions(model: Any, loss: Any, optimizer: Any, schedule: Any) -> None:
    """Refuse what is no factory or no function of the kind that a task needs.

    Raises:
        RequestError: with the line to write.
    """
    _refuse_model(model)
    _refuse_criterion(loss)
    _refuse_optimizer(optimizer)
    _refuse_scheduler(schedule)
    for name, value in (("model", model), ("loss", loss), ("optimizer", optimizer)):
        if not callable(value):
            raise RequestError(f"Task.{name} is {value!r}: pass a function")


def _refuse_model(model: Any) -> None:
    if isinstance(model, nn.Module):
        kind = type(model).__name__
        msg = (
            f"Task.model is a {kind} that is built already: pass a function that builds it under "
            f"the task's seed, model=lambda: {kind}(...); to train this very one, model=lambda: net"
        )
        raise RequestError(msg)


def _refuse_criterion(loss: Any) -> None:
    """Refuse ``criterion(output, target)`` where ``loss(model, batch)`` is meant."""
    if is_criterion(loss):
        name = getattr(loss, "__name__", type(loss).__name__)
        msg = (
            f"Task.loss is the criterion {name}, which compares outputs with targets: write "
            "loss=lambda model, batch: criterion(model(batch[0]), batch[1])"
        )
        raise RequestError(msg)


def is_criterion(loss: Any) -> bool:
    """Tell ``criterion(output, target)`` from ``loss(model, batch)``.

    >>> is_criterion(nn.MSELoss()), is_criterion(lambda model, batch: 0.0)
    (True, False)
    """
    torch_own = isinstance(loss, nn.Module) and type(loss).__module__.startswith("torch.nn")
    functional = getattr(loss, "__module__", None) == "torch.nn.functional"
    return torch_own or functional or _first_name(loss) in _PREDICTIONS


def _first_name(function: Any) -> str:
    target = function.forward if isinstance(function, nn.Module) else function
    try:
        return next(iter(inspect.signature(target).parameters), "")
    except (TypeError, ValueError):  # a builtin without a signature, or no function
        return ""


def _refuse_optimizer(optimizer: Any) -> None:
    if isinstance(optimizer, torch.optim.Optimizer):
        kind = type(optimizer).__name__
        lr = optimizer.param_groups[0].get("lr")
        msg = (
            f"Task.optimizer is {kind} for parameters that exist already: pass a function, "
            f"optimizer=lambda params: torch.optim.{kind}(params, lr={lr})"
        )
        raise RequestError(msg)


def _refuse_scheduler(schedule: Any) -> None:
    if schedule is None:
        return
    if isinstance(schedule, LRScheduler) or not callable(schedule):
        kind = type(schedule).__name__
        msg = (
            f"Task.schedule is {schedule if isinstance(schedule, (int, float, str)) else kind}: "
            f"pass a function that makes it, schedule=lambda optimizer: {kind}(optimizer, ...), or "
            "one of the step, schedule=lambda step: 0.99**step"
        )
        raise RequestError(msg)


def _options(optimizer: Any) -> Iterator[tuple[str, Any]]:
    """Yield the numbers that are options of an optimizer's groups."""
    for group in getattr(optimizer, "param_groups", ()):
        for option, value in group.items():
            several = value if isinstance(value, tuple | list) else (value,)
            for one in several if option in _NUMBERS else ():
                yield option, one.item() if isinstance(one, Tensor) and one.numel() == 1 else one


def check_optimizer(optimizer: Any) -> None:
    """Refuse what a task's factory returned if it is no optimizer, or already has a scheduler.

    Raises:
        RequestError: with the lines to write.
    """
    if isinstance(optimizer, (tuple, list)):
        kinds = ", ".join(type(part).__name__ for part in optimizer)
        msg = (
            f"Task.optimizer returned a {type(optimizer).__name__} ({kinds}): return one optimizer "
            "alone (several make one object with a step of its own), and pass a scheduler as "
            "schedule=lambda optimizer: TheScheduler(optimizer, ...). Several optimizers that take "
            "turns need a loop of your own: wb.Twins trains copies with it"
        )
        raise RequestError(msg)
    if not callable(getattr(optimizer, "step", None)) or isinstance(optimizer, LRScheduler):
        msg = (
            f"Task.optimizer returned {type(optimizer).__name__}: return an optimizer, as in "
            "optimizer=lambda params: torch.optim.SGD(params, lr=0.1)"
        )
        raise RequestError(msg)
    for option, value in _options(optimizer):
        if isinstance(value, float) and not math.isfinite(value):
            raise RequestError(f"the optimizer has {option} = {value}: give a finite number")
    if hasattr(optimizer.step, "_wrapped_by_lr_sched"):
        msg = (
            "Task.optimizer builds a learning-rate scheduler around its optimizer, which nothing "
            "would step: the rate would stay at its first value. Write the two apart:\n"
            "    optimizer=lambda params: TheOptimizer(params, lr=...),\n"
            "    schedule=lambda optimizer: TheScheduler(optimizer, ...),\n"
            "    steps=...,  # the scheduler is stepped after each of them"
        )
        raise RequestError(msg)


def refuse_list(name: str, data: Any) -> None:
    """Refuse a list of tensors: two arrays, or a data set of two samples?

    Raises:
        RequestError: with the tuple to write.
    """
    if isinstance(data, list) and data and all(isinstance(part, Tensor) for part in data):
        names = ", ".join("xyzuvw"[i] if i < 6 else "..." for i in range(min(len(data), 7)))
        comma = "," if len(data) == 1 else ""
        msg = (
            f"Task.{name} is a list of {len(data)} tensors, which could be arrays or samples: "
            f"write the arrays as a tuple, {name}=({names}{comma}), or samples as "
            f"{name}=(torch.stack(samples),)"
        )
        raise RequestError(msg)
    for leaf in data if isinstance(data, tuple) else ():
        if isinstance(leaf, Tensor) and leaf.layout is not torch.strided:
            msg = (
                f"Task.{name} holds a tensor of layout {leaf.layout}: rows of it cannot be taken "
                "for a batch; pass a data set whose samples are dense rows, or x.to_dense()"
            )
            raise RequestError(msg)
