"""What the study of phases runs: a dense ReLU net on the digits, nudged at several steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from wingbeat.errors import RequestError
from wingbeat.studies.expected import expected_line
from wingbeat.study.condition import Condition
from wingbeat.study.plan_options import option

RECORDS: Final = 20
"""Moments at which everything is looked at."""
FORKS: Final = (0.0, 0.05, 0.1, 0.25, 0.5)
"""Where copies are nudged, as shares of training."""
IMAGES: Final = 1400
"""Training images of the digits."""
BATCH: Final = 64
"""Images of an update, all but the last of a pass."""
METRICS: Final = (
    "train_loss", "accuracy", "disagreement", "kernel", "local_elasticity", "drift",
    "activation_flips", "unit_cosine", "neural_collapse", "barrier",
)  # fmt: skip
UPDATE_SECONDS: Final = 8e-3
"""Seconds an update of one model, all that is looked at included: what the published runs took."""


@dataclass(frozen=True)
class AlongPlan:
    """What was asked of the study.

    Raises:
        RequestError: a number out of range.
    """

    epochs: int = option(20, "Passes over the 1,400 training images.")
    lr: float = option(3e-3, "Adam's learning rate.")
    hidden: tuple[int, ...] = option((64, 64), "Hidden width.")
    scale: float = option(0.01, "Size of a nudge, in deviations of each tensor's initialisation.")
    replicas: int = option(2, "Copies nudged at each moment.")
    seeds: int = option(5, "Base seeds, from 0 on.")

    def __post_init__(self) -> None:
        if min(self.epochs, self.replicas, self.seeds) < 1 or self.lr <= 0:
            raise RequestError(
                f"epochs {self.epochs}, replicas {self.replicas}, seeds {self.seeds}, lr "
                f"{self.lr}: "
                "use numbers of at least 1 and a positive learning rate"
            )

    @property
    def steps(self) -> int:
        """Updates of a run; the last batch of a pass is a smaller one."""
        return self.epochs * ceil(IMAGES / BATCH)


def conditions(plan: AlongPlan) -> list[Condition]:
    """Return one condition for each base seed.

    Example:
        >>> [c.tags["seed"] for c in conditions(AlongPlan(seeds=2))]
        [0, 1]
    """
    every = max(1, plan.steps // RECORDS)
    forks = sorted({int(plan.steps * share) // every * every for share in FORKS})
    return [
        Condition(
            factory="wingbeat.tasks.dense:digits_mlp_task",
            arguments={
                "hidden": list(plan.hidden),
                "lr": plan.lr,
                "epochs": plan.epochs,
                "batch_norm": False,
                "dropout": 0.0,
                "augment": False,
            },
            perturbations=tuple(
                {"kind": "gaussian", "scale": plan.scale, "at": at} for at in forks
            ),
            replicas=plan.replicas,
            record_every=every,
            metrics=METRICS,
            seeds=(seed,),
            measures=("wingbeat.studies.phases.measure:along",),
            tags={"seed": seed},
        )
        for seed in range(plan.seeds)
    ]


def announcement(
    plan: AlongPlan, grid: Sequence[Condition], left: Sequence[Condition], workers: int
) -> list[str]:
    """Return what is said before anything is trained: how much, and for how long."""
    forks = len(grid[0].perturbations)
    told = (
        f"{len(grid)} base seeds, each a training of {plan.epochs} epochs with {plan.replicas} "
        f"copies nudged at each of {forks} moments"
    )
    return [told, expected_line(left, workers, usual_seconds)] if left else [told]


def usual_seconds(condition: Condition) -> float:
    """Return the seconds that a base seed takes on the machine of the published runs.

    >>> 30 < usual_seconds(conditions(AlongPlan())[0]) < 40
    True
    """
    length = condition.task().steps
    rest = sum(length - int(p["at"]) for p in condition.perturbations)
    return UPDATE_SECONDS * (2 * length + condition.replicas * rest)
