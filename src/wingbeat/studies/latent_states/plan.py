"""What the study of latent states runs: three tasks, with and without LayerNorm, many seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from wingbeat.errors import RequestError
from wingbeat.studies.expected import expected_line
from wingbeat.study.condition import Condition
from wingbeat.study.plan_options import option

RECORDS: Final = 50
"""Moments at which the weights are looked at."""
GROUPS: Final = 5
"""Disjoint groups of base seeds, each fitted by itself: intervals are over them."""
FEWEST: Final = 5
"""Base seeds of a group, at least: fewer runs have no states."""

UPDATE_SECONDS: Final = {
    ("modular", False): 1.16e-2,
    ("modular", True): 1.52e-2,
    ("parity", False): 6.9e-4,
    ("parity", True): 7.1e-4,
    ("digits", False): 7.9e-4,
    ("digits", True): 2.7e-3,
}
"""Seconds an update of one model, fits of the states included, by task and whether with LayerNorm:
what the published tables took ÷ (their 90 models × their updates)."""


class TaskOfStudy(NamedTuple):
    """One task: its words, its factory, what is given to it, and when it has converged."""

    title: str
    factory: str
    arguments: dict[str, Any]
    threshold: float
    optimizer: dict[str, Any] | None = None


TASKS: Final = {
    "modular": TaskOfStudy(
        "addition modulo 23",
        "wingbeat.tasks.algorithmic:modular_addition_task",
        {},
        0.9,
    ),
    "parity": TaskOfStudy(
        "parity of 3 of 20 bits", "wingbeat.tasks.algorithmic:parity_task", {}, 0.9
    ),
    # The published net's optimizer; 0.97 is never reached on the digits' own split, 0.85 by all.
    "digits": TaskOfStudy(
        "digits",
        "wingbeat.tasks.dense:digits_mlp_task",
        {"hidden": [64], "batch_norm": False, "dropout": 0.0, "augment": False},
        0.85,
        {"kind": "AdamW", "lr": 1e-3, "weight_decay": 1.0},
    ),
}
"""By name; thresholds are accuracies on samples that are not trained on."""


@dataclass(frozen=True)
class StatesPlan:
    """What was asked of the study.

    Raises:
        RequestError: an unknown task, or a number out of range.
    """

    tasks: tuple[str, ...] = option(tuple(TASKS), "Task: modular, parity or digits.", "task")
    modular_epochs: int = option(500, "Passes of addition, one update each.")
    parity_epochs: int = option(60, "Passes of parity, 32 updates each.")
    digits_epochs: int = option(30, "Passes of digits, 22 updates each.")
    scale: float = option(0.01, "Size of a nudge, in deviations of each tensor's initialisation.")
    replicas: int = option(1, "Nudged copies of each base seed.")
    seeds: int = option(30, "Base seeds, from 0 on.")

    def __post_init__(self) -> None:
        unknown = sorted(set(self.tasks) - set(TASKS))
        if unknown or not self.tasks:
            raise RequestError(f"tasks are {self.tasks}: use some of {tuple(TASKS)}")
        least = GROUPS * FEWEST
        if self.seeds < least or self.replicas < 1 or self.scale <= 0:
            raise RequestError(
                f"seeds {self.seeds}, replicas {self.replicas}, scale {self.scale}: use at least "
                f"{least} base seeds ({GROUPS} groups of {FEWEST}), one copy and a positive size"
            )
        if min(self.epochs(task) for task in TASKS) < 1:
            raise RequestError("use at least one epoch of each task")

    def epochs(self, task: str) -> int:
        """Return the passes over the data of a task."""
        found: int = getattr(self, f"{task}_epochs")
        return found


def conditions(plan: StatesPlan) -> list[Condition]:
    """Return one condition for each task with and without LayerNorm, all base seeds in each.

    Example:
        >>> [c.tags["normalised"] for c in conditions(StatesPlan(tasks=("parity",)))]
        [False, True]
    """
    return [_condition(plan, task, norm) for task in plan.tasks for norm in (False, True)]


def _condition(plan: StatesPlan, task: str, norm: bool) -> Condition:
    of = TASKS[task]
    one = Condition(
        factory=of.factory,
        arguments={**of.arguments, "epochs": plan.epochs(task), "layer_norm": norm},
        perturbations=({"kind": "gaussian", "scale": plan.scale},),
        replicas=plan.replicas,
        metrics=("accuracy", "train_loss", "weight_statistics"),
        seeds=tuple(range(plan.seeds)),
        measures=(f"wingbeat.studies.latent_states.measure:{task}",),
        tags={"task": task, "normalised": norm},
        optimizer=of.optimizer,
    )
    return replace(one, record_every=max(1, one.task().steps // RECORDS))


def announcement(
    plan: StatesPlan, grid: Sequence[Condition], left: Sequence[Condition], workers: int
) -> list[str]:
    """Return what is said before anything is trained: how much, and for how long."""
    models = plan.seeds * (plan.replicas + 2)
    told = (
        f"{len(grid) // 2} tasks, each with and without LayerNorm: {models} models of each "
        f"({plan.seeds} base seeds; reference, unperturbed twin and {plan.replicas} nudged)"
    )
    return [told, expected_line(left, workers, usual_seconds)] if left else [told]


def usual_seconds(condition: Condition) -> float:
    """Return the seconds that a condition takes on the machine of the published tables.

    >>> [round(usual_seconds(c)) for c in conditions(StatesPlan(tasks=("modular",)))]
    [522, 684]
    """
    one = UPDATE_SECONDS[condition.tags["task"], condition.tags["normalised"]]
    models = len(condition.seeds) * (condition.replicas + 2)
    return one * models * condition.task().steps
