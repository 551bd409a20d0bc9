"""What the study of chaos at the edge runs: full-batch descent over many learning rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from wingbeat.errors import RequestError, nearest
from wingbeat.study.condition import Condition
from wingbeat.study.plan_options import option

SNAPSHOTS: Final = 8
"""Moments at which the sharpness is measured: its late ones are what is asked for."""
RATES: Final = tuple(round(0.05 * 2 ** (k / 4), 4) for k in range(21))
"""Four a doubling, from far below the edge to where training breaks down."""
NETS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "dense": ("wingbeat.tasks.full_batch:tanh_task", {"hidden": [24], "n": 1000}),
    "cnn": (
        "wingbeat.tasks.digit_families:family_task",
        {
            "family": "cnn", "shape": [4, 4], "n": 200, "loss": "mse", "optimizer": "gd",
            "batch_size": None,
        },
    ),
}  # fmt: skip
"""Task and arguments by name: a 64-24-10 tanh net, and a convolutional net of 406 weights."""
TARGETS: Final = {"dense": 0.1, "cnn": 0.25}
"""Training loss to reach: half the squared error, of which a net that says nothing has 0.5."""


@dataclass(frozen=True)
class ChaosPlan:
    """What was asked of the study.

    Raises:
        RequestError: fewer than four learning rates, an unknown net, or a number out of range.
    """

    nets: tuple[str, ...] = option(("dense",), "dense or cnn.", "net")
    rates: tuple[float, ...] = option(RATES, "Learning rate; four or more.", "lr")
    steps: int = option(300, "Updates.")
    seeds: int = option(10, "Base seeds, from 0 on.")

    def __post_init__(self) -> None:
        for net in self.nets:
            if net not in NETS:
                raise RequestError(f"net is {net!r}: {nearest(net, list(NETS))}")
        if len(set(self.rates)) < 4 or min(self.rates) <= 0:
            raise RequestError(f"rates are {self.rates}: give four or more positive ones")
        if self.steps < 2 * SNAPSHOTS or self.seeds < 1:
            raise RequestError(
                f"steps {self.steps}, seeds {self.seeds}: use {2 * SNAPSHOTS} and 1 at least"
            )


def conditions(plan: ChaosPlan) -> list[Condition]:
    """Return one condition for each net, learning rate and base seed.

    Example:
        >>> len(conditions(ChaosPlan())), len(conditions(ChaosPlan(("cnn",), seeds=2)))
        (210, 42)
    """
    return [
        Condition(
            factory=NETS[net][0],
            arguments={**NETS[net][1], "lr": lr, "steps": plan.steps},
            perturbations=(),
            record_every=plan.steps // SNAPSHOTS,
            metrics=("train_loss", "eval_loss", "accuracy"),
            seeds=(seed,),
            driver="loop",  # a reference and its twin: there is nothing to stack
            measures=(
                "wingbeat.studies.curvature:sharpness",
                "wingbeat.studies.curvature:exponent",
                "wingbeat.studies.chaos_at_edge.measure:outcomes",
            ),
            tags={"net": net, "lr": lr, "seed": seed},
        )
        for net in plan.nets
        for lr in sorted(plan.rates)
        for seed in range(plan.seeds)
    ]
