"""What a run's exponent would be if its learning rate were small: the background of chaos.

Flat directions and slow growth leave a largest exponent of 1e-4 to 1e-3 per step in runs that
follow the gradient flow closely; it is proportional to the learning rate and says nothing about
chaos. The baseline measures it: the same task, the same stretch of training time, the learning
rate divided by a ratio and that many more steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf, isnan
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.special import stdtrit

from wingbeat.errors import RequestError
from wingbeat.lyapunov.maps.batch_means import batch_count
from wingbeat.lyapunov.training.window import TangentWindow
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.lyapunov.training.tangent_trajectory import TangentRecord
    from wingbeat.task.task import Task


_FEWEST_SEEDS = 3
Judgement = Literal["chaotic", "like small steps", "contracting", "not judged"]
_LEVEL = 0.95
"""Level at which a difference must exceed what its error allows, on both sides together."""


@dataclass(frozen=True)
class Baseline:
    """The largest exponent at a small learning rate.

    Attributes:
        exponent: of the small run, 1/step, times ``ratio``: per step of the run it is compared
            with, over the same training time.
        error: its standard error; NaN for short runs.
        freedom: degrees of freedom of that error.
        ratio: what the learning rate was divided by.
        reason: why there is none; "" where it is defined.
    """

    exponent: float
    error: float
    ratio: int
    reason: str = ""
    freedom: float = inf


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


def small_window(window: TangentWindow, ratio: int) -> TangentWindow:
    """Return the same stretch of training time in smaller steps.

    >>> small_window(TangentWindow(1, 2, 10, 1), 4)
    TangentWindow(warmup=4, discard=8, steps=40, every=4)
    """
    return TangentWindow(
        window.warmup * ratio, window.discard * ratio, window.steps * ratio, window.every * ratio
    )


def small_rate(
    task: Task,
    window: TangentWindow,
    ratio: int,
    seeds: Sequence[int],
    follow: Callable[[Task, TangentWindow, int], TangentRecord],
) -> Baseline:
    """Measure the baseline on every base seed.

    Args:
        task: of the runs that are to be judged.
        window: their own.
        ratio: to divide the learning rate by; the cost grows with it.
        seeds: base seeds of the runs.
        follow: carries one tangent along a task under a base seed.
    """
    small, stretch = small_task(task, ratio), small_window(window, ratio)
    found = [follow(small, stretch, seed).spectrum for seed in seeds]
    values = np.array([float(one.partial[0]) for one in found])
    errors = np.array([float(one.errors[0]) for one in found])
    batches = batch_count(len(stretch.lengths))
    error, freedom = mean_error(values, errors, batches)
    reason = next((one.reason for one in found if one.reason), "")
    return Baseline(float(values.mean()) * ratio, error * ratio, ratio, reason, freedom)


def mean_error(values: Array, errors: Array, batches: int) -> tuple[float, float]:
    """Return the standard error of a mean over base seeds, and its degrees of freedom.

    Over three seeds and more it is their scatter, below that the errors within the runs.

    Args:
        values: one a base seed.
        errors: standard errors within the runs.
        batches: of which each of those was made.

    >>> mean_error(np.array([1.0, 2.0, 3.0]), np.zeros(3), 10)[1]
    2
    """
    count = len(values)
    if count >= _FEWEST_SEEDS:
        return float(values.std(ddof=1)) / count**0.5, count - 1
    return float(np.sqrt((errors**2).sum())) / count, count * max(1, batches - 1)


def judge(
    exponent: float, error: float, baseline: Baseline | None, freedom: float = inf
) -> Judgement:
    """Say in words what a largest exponent means.

    "chaotic" only if it is above 0 and above the small-learning-rate baseline, by more than the
    95 % limit of the difference; "contracting" if it is as clearly below 0; "like small steps"
    otherwise. Limits are Student's, of the difference Welch's. Without a baseline or an error
    nothing is said; where the baseline has no error, that of the exponent stands for it.

    Args:
        exponent: 1/step.
        error: its standard error.
        baseline: what it is beside.
        freedom: degrees of freedom of the error, such as the number of base seeds less one.

    Source: Welch, Biometrika 34 (1947).

    >>> judge(0.1, 0.03, Baseline(0.0, 0.001, 8)), judge(0.1, 0.03, Baseline(0.0, 0.001, 8), 2)
    ('chaotic', 'like small steps')
    >>> judge(0.1, 0.01, Baseline(1e-3, 1e-4, 8))
    'chaotic'
    >>> judge(0.1, 0.01, None)
    'not judged'
    """
    if baseline is None or isnan(error) or isnan(exponent) or isnan(baseline.exponent):
        return "not judged"
    quantile = 0.5 + _LEVEL / 2.0
    if exponent + float(stdtrit(freedom, quantile)) * error < 0:
        return "contracting"
    unknown = isnan(baseline.error)
    own, its = (error, freedom) if unknown else (baseline.error, baseline.freedom)
    square = error**2 + own**2
    if square > 0.0:
        shares = error**2 / square, own**2 / square
        doubt = shares[0] ** 2 / freedom + shares[1] ** 2 / its
        both = 1.0 / doubt if doubt > 0.0 else inf
        apart = float(stdtrit(both, quantile)) * square**0.5
    else:
        apart = 0.0
    above = exponent - max(baseline.exponent, 0.0)
    return "chaotic" if above > apart else "like small steps"
