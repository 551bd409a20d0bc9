"""The stability threshold of a task's own optimizer; every rule answers for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from wingbeat.task.optimizers.stability import (
    Threshold,
    adam,
    gradient_descent,
    nesterov,
    polyak,
    unknown,
)
from wingbeat.task.step import TrainingStep

if TYPE_CHECKING:
    from wingbeat.task.optimizers import PureOptimizer
    from wingbeat.task.task import Task

__all__ = [
    "Threshold",
    "adam",
    "gradient_descent",
    "nesterov",
    "of_rule",
    "polyak",
    "threshold",
]


def threshold(task: Task, step: int = 0) -> Threshold:
    """Return the stability threshold of a task's own optimizer at one step of its schedule.

    Args:
        task: whose optimizer and schedule.
        step: counted from 0.

    Returns:
        NaN with the reason ``no_threshold`` where the optimizer has no pure form, several groups
        with unequal rules, or a rule for which no threshold is known (NAdam, RAdam, maximising).

    Example:
        >>> from wingbeat.tasks.dense import circles_task
        >>> found = threshold(circles_task())
        >>> round(found.value), found.of
        (3800, 'preconditioned sharpness')
    """
    pure = TrainingStep(task, torch.float32, torch.device("cpu"))
    if pure.optimizer is None:
        return unknown(pure.reason)
    return of_rule(pure.optimizer, task.factor(step), step)


def of_rule(rule: PureOptimizer, factor: float = 1.0, step: int = 0) -> Threshold:
    """Return the threshold of a pure optimizer; ``factor`` is the schedule's."""
    rules = set(rule.rules())
    if len(rules) > 1:
        return unknown("parameter groups with unequal rules")
    one = rules.pop()
    lr = float(getattr(one, "lr", 0.0)) * factor
    if lr <= 0 or getattr(one, "maximize", False):
        return unknown("the loss is not minimised at this step")
    return one.threshold(lr, step)
