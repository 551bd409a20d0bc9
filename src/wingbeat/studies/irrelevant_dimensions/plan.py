"""What the study of irrelevant dimensions runs: small nets of three families, early and late."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wingbeat.errors import RequestError, nearest
from wingbeat.study.condition import Condition
from wingbeat.study.plan_options import option

NETS: Final[dict[str, tuple[str, tuple[int, ...]]]] = {
    "dense 4": ("dense", (4,)),
    "dense 8": ("dense", (8,)),
    "dense 16": ("dense", (16,)),
    "dense 8-8": ("dense", (8, 8)),
    "dense 8-8-8": ("dense", (8, 8, 8)),
    "cnn 2-4": ("cnn", (2, 4)),
    "cnn 4-4": ("cnn", (4, 4)),
    "transformer 4": ("transformer", (4, 1)),
    "transformer 8": ("transformer", (8, 1)),
}
"""Family and shape by name: 266 to 1,210 weights, so that every direction can be followed."""
USUAL: Final = tuple(name for name in NETS if name != "transformer 8")
"""Nets of the command without options; the other transformer is slow to learn, and to follow."""
WINDOW: Final = 25
"""Updates over which directions are followed, the last of a run: half a pass over the digits."""
RATE: Final = 0.01
"""Adam's learning rate, at which all of them learn."""


@dataclass(frozen=True)
class DimensionsPlan:
    """What was asked of the study.

    Raises:
        RequestError: an unknown net, or a number out of range.
    """

    nets: tuple[str, ...] = option(USUAL, f"Net by name: {', '.join(NETS)}.", "net")
    starts: tuple[int, ...] = option(
        (10, 300), "Update from which directions are followed.", "start"
    )
    seeds: int = option(3, "Base seeds, from 0 on.")

    def __post_init__(self) -> None:
        for net in self.nets:
            if net not in NETS:
                raise RequestError(f"net is {net!r}: {nearest(net, list(NETS))}")
        if not self.nets or not self.starts or min(self.starts) < 1:
            # Adam's first update from a second moment of 0 has no derivative worth the name.
            raise RequestError(f"nets {self.nets}, starts {self.starts}: use updates from 1 on")
        if self.seeds < 1:
            raise RequestError(f"seeds is {self.seeds}: use at least 1")


def conditions(plan: DimensionsPlan) -> list[Condition]:
    """Return one condition for each net, moment and base seed.

    Example:
        >>> len(conditions(DimensionsPlan()))
        48
    """
    return [
        Condition(
            factory="wingbeat.tasks.digit_families:family_task",
            arguments={
                "family": NETS[net][0],
                "shape": list(NETS[net][1]),
                "lr": RATE,
                "steps": at + WINDOW,
                "optimizer": "adam",
                "batch_size": 32,
            },
            perturbations=(),
            record_every=at + WINDOW,
            metrics=("train_loss", "accuracy"),
            seeds=(seed,),
            driver="loop",
            measures=("wingbeat.studies.irrelevant_dimensions.measure:directions",),
            tags={"net": net, "family": NETS[net][0], "at": at, "seed": seed},
        )
        for net in plan.nets
        for at in plan.starts
        for seed in range(plan.seeds)
    ]
