"""What a run's exponent would be if its learning rate were small: the background of chaos.

Flat directions and slow growth leave a largest exponent of 1e-4 to 1e-3 per step in runs that
follow the gradient flow closely; it is proportional to the learning rate and says nothing about
chaos. The baseline measures it: the same task, the same stretch of training time, the learning
rate divided by a ratio and that many more steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isnan
from typing import TYPE_CHECKING, Literal

from wingbeat.errors import RequestError
from wingbeat.lyapunov.window import Window

if TYPE_CHECKING:
    from wingbeat.lyapunov.follow import Followed
    from wingbeat.task.task import Task

Judgement = Literal["chaotic", "like small steps", "contracting", "not judged"]
ERRORS = 2.0
"""Standard errors that a difference must exceed to count."""


@dataclass(frozen=True)
class Baseline:
    """The largest exponent at a small learning rate.

    Attributes:
        exponent: of the small run, 1/step, times ``ratio``: per step of the run it is compared
            with, over the same training time.
        error: its standard error; NaN for short runs.
        ratio: what the learning rate was divided by.
        reason: why there is none; "" where it is defined.
    """

    exponent: float
    error: float
    ratio: int
    reason: str = ""


def small_task(task: Task, ratio: int) -> Task:
    """Return the task with the learning rate divided and that many more steps.

    Each step of the schedule becomes ``ratio`` steps. Batches go on in their order, so the
    small run sees other batches than the original.

    Raises:
        RequestError: a ratio below 2.

    >>> from wingbeat.tasks.dense import circles_task
    >>> small = small_task(circles_task(), 4)
    >>> small.steps, small.factor(7)
    (1280, 0.25)
    """
    if not isinstance(ratio, int) or isinstance(ratio, bool) or ratio < 2:
        raise RequestError(f"baseline is {ratio!r}: give a whole number of at least 2, such as 8")
    return replace(
        task, schedule=lambda step: task.factor(step // ratio) / ratio, steps=task.steps * ratio
    )


def small_window(window: Window, ratio: int) -> Window:
    """Return the same stretch of training time in smaller steps.

    >>> small_window(Window(1, 2, 10, 1), 4)
    Window(warmup=4, discard=8, steps=40, every=4)
    """
    return Window(
        window.warmup * ratio, window.discard * ratio, window.steps * ratio, window.every * ratio
    )


def small_rate(
    task: Task, window: Window, ratio: int, follow: Callable[[Task, Window], Followed]
) -> Baseline:
    """Measure the baseline.

    Args:
        task: of the run that is to be judged.
        window: its own.
        ratio: to divide the learning rate by; the cost grows with it.
        follow: carries one tangent along a task.
    """
    found = follow(small_task(task, ratio), small_window(window, ratio)).spectrum
    value, error = float(found.partial[0]), float(found.errors[0])
    return Baseline(value * ratio, error * ratio, ratio, found.reason)


def judge(exponent: float, error: float, baseline: Baseline | None) -> Judgement:
    """Say in words what a largest exponent means.

    "chaotic" only if it is above 0 and above the small-learning-rate baseline, by twice the
    standard error of the difference; "contracting" if it is as clearly below 0; "like small
    steps" otherwise. Without a baseline or an error nothing is said.

    >>> judge(0.1, 0.01, Baseline(1e-3, 1e-4, 8))
    'chaotic'
    >>> judge(0.1, 0.01, None)
    'not judged'
    """
    if baseline is None or isnan(error) or isnan(exponent) or isnan(baseline.exponent):
        return "not judged"
    if exponent + ERRORS * error < 0:
        return "contracting"
    own = 0.0 if isnan(baseline.error) else baseline.error
    apart = ERRORS * (error**2 + own**2) ** 0.5
    above = exponent - max(baseline.exponent, 0.0)
    return "chaotic" if above > apart else "like small steps"
