"""What the study of families runs: three nets of equally many weights, at several rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wingbeat.errors import RequestError
from wingbeat.study.condition import Condition
from wingbeat.study.plan_options import option

SHAPES: Final[dict[str, dict[str, tuple[int, ...]]]] = {
    "small": {"dense": (15,), "cnn": (8, 9), "transformer": (8, 1)},
    "large": {"dense": (51,), "cnn": (16, 20), "transformer": (16, 1)},
}
"""Shapes by size and family: 1,107 to 1,146 and 3,818 to 3,870 weights."""
SNAPSHOTS: Final = 40
"""Records of a run: how finely the moment is known at which an accuracy is reached."""


@dataclass(frozen=True)
class FamiliesPlan:
    """What was asked of the study.

    Raises:
        RequestError: fewer than two learning rates, or a number out of range.
    """

    rates: tuple[float, ...] = option((2e-3, 5e-3, 1.25e-2), "Adam's learning rate.", "lr")
    accuracy: float = option(0.7, "Accuracy on unseen digits at which families are compared.")
    scale: float = option(0.01, "Nudge, in deviations of each tensor's initialisation.")
    steps: int = option(440, "Updates.")
    replicas: int = option(2, "Copies of a nudge.")
    seeds: int = option(6, "Base seeds, from 0 on.")

    def __post_init__(self) -> None:
        if len(set(self.rates)) < 2 or min(self.rates) <= 0:
            raise RequestError(f"rates are {self.rates}: give two or more positive ones")
        if not 0 < self.accuracy < 1 or not self.scale > 0:
            raise RequestError(
                f"accuracy {self.accuracy}, scale {self.scale}: use a share and a positive size"
            )
        if self.steps < SNAPSHOTS or min(self.replicas, self.seeds) < 1:
            raise RequestError(
                f"steps {self.steps}, replicas {self.replicas}, seeds {self.seeds}: use "
                f"{SNAPSHOTS}, 1 and 1 at least"
            )


def conditions(plan: FamiliesPlan) -> list[Condition]:
    """Return one condition for each size, family, learning rate and base seed.

    Example:
        >>> len(conditions(FamiliesPlan()))
        108
    """
    return [
        Condition(
            factory="wingbeat.tasks.digit_families:family_task",
            arguments={
                "family": family,
                "shape": list(shape),
                "lr": lr,
                "steps": plan.steps,
                "optimizer": "adam",
            },
            perturbations=({"kind": "gaussian", "scale": plan.scale, "at": 0},),
            replicas=plan.replicas,
            record_every=max(1, plan.steps // SNAPSHOTS),
            metrics=("l2", "relative_l2", "spread", "train_loss", "accuracy", "disagreement"),
            seeds=(seed,),
            measures=("wingbeat.studies.three_families.measure:courses",),
            tags={"family": family, "size": size, "lr": lr, "seed": seed},
        )
        for size, shapes in SHAPES.items()
        for family, shape in shapes.items()
        for lr in sorted(plan.rates)
        for seed in range(plan.seeds)
    ]
