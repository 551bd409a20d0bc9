"""How often a costly metric is measured: as often as together costs no more than training did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wingbeat.measure.context import MetricContext

TRAINING_PASSES: Final = 3
"""Forward passes that a training step costs for each sample: one forward, about two backward."""


def evenly(steps: list[int], count: int) -> list[int]:
    """Return `count` evenly spaced steps, always including the last.

    >>> evenly([0, 10, 20, 30, 40], 3), evenly([0, 10, 20], 0), evenly([0, 10], 7)
    ([0, 20, 40], [20], [0, 10])
    """
    if count >= len(steps):
        return steps
    # From the last backwards, so that one affordable step is the last.
    places = np.linspace(len(steps) - 1, 0, max(1, count)).round().astype(int)
    return [steps[i] for i in sorted(set(places.tolist()))]


def ends_and_between(steps: Sequence[int], count: int) -> list[int]:
    """Return `count` evenly spaced steps, always including the first and the last.

    >>> ends_and_between([0, 10, 20, 30, 40], 0), ends_and_between([0, 10, 20], 9)
    ([0, 40], [0, 10, 20])
    """
    count = min(len(steps), max(2, count))
    places = np.linspace(0, len(steps) - 1, count).round().astype(int)
    return [steps[i] for i in sorted(set(places.tolist()))]


def looked_at(context: MetricContext) -> list[int]:
    """Return the recorded steps at which models are compared: since the first fork, or the last.

    Only the last where the task says so (``Task.barriers.along``): then a run can record its
    weights often, and what takes forward passes or assignments is taken once.
    """
    steps = forked_steps(context)
    return steps if context.model_step.task.barriers.along else steps[-1:]


def forked_steps(context: MetricContext) -> list[int]:
    """Return the recorded steps at which a perturbed replica exists, or else the last."""
    forked = [s.step for s in context.trajectory if len(s.labels) > 2]
    return forked or [context.trajectory.steps[-1]]
