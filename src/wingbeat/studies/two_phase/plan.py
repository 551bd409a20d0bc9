"""What the study of two phases runs: one training a base seed, nudged at doubling moments.

And, where it is asked for, the same training with a rate that falls in the middle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import torch

from wingbeat.errors import RequestError, nearest
from wingbeat.landscape.data import select_samples
from wingbeat.studies.expected import expected_line
from wingbeat.study.condition import Condition, task_of
from wingbeat.study.plan_options import argument, option
from wingbeat.task.data import len_of
from wingbeat.task.task import Task

FACTORIES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "digits-cnn": ("wingbeat.tasks.cnn:digits_task", {"batch_size": 32}),
    "digits-mlp": (
        "wingbeat.tasks.dense:digits_mlp_task",
        {"hidden": [64, 64], "batch_size": 32, "batch_norm": False, "dropout": 0.0,
         "augment": False},
    ),
    "cifar-cnn": ("wingbeat.tasks.cnn:photos_task", {"batch_size": 32}),
    "cifar-resnet": (
        "wingbeat.tasks.from_scratch:cifar_resnet",
        {"depth": 8, "width": 4, "samples": 2000, "batch_size": 32, "augment": False},
    ),
}  # fmt: skip
"""Short names of tasks, with the arguments that they get before the plan's own."""
RECORDS: Final = 100
"""Moments that are recorded at least, evenly spaced: the first doublings need short ones."""
ELAPSED: Final = 0.25
"""Share of training that passes between a nudge and the look at what became of it."""
WINDOW: Final = 0.5
"""Share of training after which the kernel is asked whether it is confined. Fixed beforehand: a
window that began where the kernel looks settled would be chosen for the answer."""
AVERAGED: Final = 5
"""Records of an average: odd, so that one of them is its middle; few, so that ten averages fit into
the second half of a hundred records, and a slope over them has a decade of times."""
FEWEST: Final = 3
"""Averages that a slope needs."""
TASK: Final = "wingbeat.studies.two_phase.plan:constant_rate"
MEASURE: Final = "wingbeat.studies.two_phase.measure:two_phases"
AVERAGES: Final = "wingbeat.studies.two_phase.averages:averages"
LATE: Final = "wingbeat.studies.two_phase.rate_drop:late"
DROPPED: Final = "wingbeat.studies.two_phase.rate_drop:dropped"
DROP_AT: Final = 0.5
"""Share of training at the full rate, where it falls: the first kernels have come and gone."""
UPDATE_SECONDS: Final = 2.5e-3
"""Seconds an update of one model, all that is looked at included: what the published run on digits
took with five copies a moment. Of other tasks and numbers it is not known."""


@dataclass(frozen=True)
class RateDrop:
    """The factor of a learning rate that falls once.

    Attributes:
        by: what the rate is divided by.
        at: updates that are made at the full rate.

    >>> [RateDrop(10.0, 2)(step) for step in range(4)]
    [1.0, 1.0, 0.1, 0.1]
    """

    by: float
    at: int

    def __call__(self, step: int) -> float:
        """Return the factor of the update after so many."""
        return 1.0 if step < self.at else 1.0 / self.by


@dataclass(frozen=True)
class TwoPhasePlan:
    """What was asked of the study.

    Raises:
        RequestError: a number out of range, an unknown task.
    """

    task: str = argument(
        "digits-cnn, digits-mlp, cifar-cnn, cifar-resnet, or MODULE:FACTORY with classes.",
        "TASK",
        "digits-cnn",
    )
    arguments: dict[str, Any] = option({}, "Argument of the task, name=value.", "arg")
    steps: int = option(800, "Updates of a training.")
    lr: float = option(0.05, "Learning rate of SGD, the same throughout.")
    momentum: float = option(0.9, "Of SGD.")
    scale: float = option(0.01, "Size of a nudge, in deviations of each tensor's initialisation.")
    replicas: int = option(5, "Copies nudged at each moment.")
    seeds: int = option(5, "Base seeds, from 0 on.")
    eval_samples: int = option(500, "Most samples of the evaluation data.")
    averages: bool = option(False, "Look at kernels of averaged weights too.")
    rate_drop: float = option(
        1.0, "Train once more with the rate divided by this from the middle on; 1 does not."
    )

    def __post_init__(self) -> None:
        least = {"steps": 16, "replicas": 1, "seeds": 1, "eval_samples": 2}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise RequestError(f"{name} is {getattr(self, name)!r}: give at least {bound}")
        if not (self.lr > 0 and self.scale > 0 and 0 <= self.momentum < 1):
            raise RequestError(
                f"lr {self.lr!r}, scale {self.scale!r}, momentum {self.momentum!r}: give a "
                "positive rate and size, and a momentum of at least 0 and below 1"
            )
        if self.rate_drop < 1:
            raise RequestError(f"rate_drop {self.rate_drop!r}: divide by more than 1, 1 for none")
        records = int((1 - WINDOW) * self.steps / self.every) + 1
        if self.averages and records < FEWEST * AVERAGED:
            raise RequestError(
                f"steps is {self.steps}: averages of weights need {FEWEST * AVERAGED} records in "
                f"the second half, and there are {records}; train longer, or leave them out"
            )
        if self.task not in FACTORIES and ":" not in self.task:
            raise RequestError(
                f"task {self.task!r} is no built-in one, and no module:factory; "
                f"{nearest(self.task, FACTORIES)}"
            )

    @property
    def every(self) -> int:
        """Updates between two recorded moments.

        >>> TwoPhasePlan().every, TwoPhasePlan(steps=20).every
        (8, 1)
        """
        return max(1, self.steps // RECORDS)

    @property
    def elapsed(self) -> int:
        """Updates between a nudge and the look at what became of it.

        >>> TwoPhasePlan().elapsed
        200
        """
        return max(1, round(self.steps * ELAPSED / self.every)) * self.every

    @property
    def drop_at(self) -> int:
        """Updates at the full rate of the training whose rate falls.

        >>> TwoPhasePlan().drop_at
        400
        """
        return max(1, round(self.steps * DROP_AT / self.every)) * self.every

    @property
    def forks(self) -> tuple[int, ...]:
        """Steps at which copies are nudged: at the start, then at doubling distances.

        >>> TwoPhasePlan().forks
        (0, 8, 16, 32, 64, 128, 256, 512)
        """
        found, at = [0], self.every
        while at + self.elapsed <= self.steps:
            found.append(at)
            at *= 2
        return tuple(found)


def constant_rate(
    factory: str,
    arguments: Mapping[str, Any],
    *,
    steps: int,
    lr: float,
    momentum: float,
    eval_samples: int,
    drop: Sequence[float] = (),
) -> Task:
    """Return a factory's task with SGD at one learning rate, so many updates and test samples.

    The rate must not change: copies nudged late would part less only since steps are smaller.
    Unless it is asked what a change does: ``drop`` says by how much and after how many updates.

    Raises:
        RequestError: the factory cannot be called so, or its task has no evaluation data.

    Example:
        >>> place, arguments = FACTORIES["digits-cnn"]
        >>> task = constant_rate(place, arguments, steps=20, lr=0.1, momentum=0.0, eval_samples=50)
        >>> task.steps, len(task.eval_data[0]), task.schedule
        (20, 50, None)
    """
    task = task_of(factory, arguments)
    if task.eval_data is None:
        raise RequestError(f"{factory} has no eval_data: whether copies disagree is asked on it")
    shown = task.eval_data
    if len_of(shown) > eval_samples:
        shown = select_samples(shown, eval_samples)
    return replace(
        task,
        optimizer=partial(torch.optim.SGD, lr=lr, momentum=momentum),
        schedule=RateDrop(drop[0], int(drop[1])) if drop else None,
        steps=steps,
        eval_data=shown,
    )


def conditions(plan: TwoPhasePlan) -> list[Condition]:
    """Return one condition for each base seed, and one with a drop where it is asked for.

    Raises:
        RequestError: the task cannot be built.

    Example:
        >>> [c.tags["seed"] for c in conditions(TwoPhasePlan(seeds=2))]
        [0, 1]
        >>> [c.tags["rate"] for c in conditions(TwoPhasePlan(seeds=1, rate_drop=10.0))]
        ['constant', 'dropped']
    """
    place, usual = FACTORIES.get(plan.task, (plan.task, {}))
    given: dict[str, Any] = {
        "factory": place,
        "arguments": {**usual, **plan.arguments},
        "steps": plan.steps,
        "lr": plan.lr,
        "momentum": plan.momentum,
        "eval_samples": plan.eval_samples,
    }
    name = constant_rate(**given).name
    found = []
    for seed in range(plan.seeds):
        whole = _constant(plan, given, {"seed": seed, "task": name, "rate": "constant"})
        found.append(whole)
        if plan.rate_drop > 1:
            found.append(_dropped(plan, whole))
    return found


def _constant(plan: TwoPhasePlan, given: dict[str, Any], tags: dict[str, Any]) -> Condition:
    return Condition(
        factory=TASK,
        arguments=given,
        perturbations=tuple(
            {"kind": "gaussian", "scale": plan.scale, "at": at} for at in plan.forks
        ),
        replicas=plan.replicas,
        record_every=plan.every,
        metrics=("cosine", "disagreement", "accuracy", "train_loss"),
        seeds=(tags["seed"],),
        # A stack of nets this small is faster than a loop; of larger convolutions it is not.
        driver="lockstep" if plan.task.startswith("digits") else "loop",
        measures=(MEASURE, *[AVERAGES] * plan.averages, *[LATE] * (plan.rate_drop > 1)),
        tags=tags,
    )


def _dropped(plan: TwoPhasePlan, whole: Condition) -> Condition:
    """Return the same training with a rate that falls, without copies."""
    return replace(
        whole,
        arguments={**whole.arguments, "drop": [plan.rate_drop, plan.drop_at]},
        perturbations=(),
        metrics=("accuracy", "train_loss"),
        measures=(DROPPED,),
        tags={**whole.tags, "rate": "dropped"},
    )


def announcement(
    plan: TwoPhasePlan, grid: Sequence[Condition], left: Sequence[Condition], workers: int
) -> list[str]:
    """Return what is said before anything is trained: how much, and where it is known how long."""
    count = sum(c.tags["rate"] == "constant" for c in grid)
    told = (
        f"{count} base seeds, each: {plan.steps} updates, {plan.replicas} copies nudged at each of "
        f"{len(plan.forks)} moments, as many trainings with a fixed kernel, and "
        f"{plan.steps // plan.every + 1} kernels"
    )
    lines = [told]
    if plan.rate_drop > 1:
        lines.append(f"and once more with the rate divided by {plan.rate_drop:g}, without copies")
    usual = TwoPhasePlan()
    known = (plan.task, plan.arguments, plan.replicas) == (usual.task, {}, usual.replicas)
    if left and known:
        lines.append(expected_line(left, workers, usual_seconds))
    return lines


def usual_seconds(condition: Condition) -> float:
    """Return the seconds that digits with five copies a moment take on the published machine.

    >>> 65 < usual_seconds(conditions(TwoPhasePlan())[0]) < 75
    True
    """
    length = int(condition.arguments["steps"])
    rest = sum(length - int(p["at"]) for p in condition.perturbations)
    return UPDATE_SECONDS * (2 * length + condition.replicas * rest)
