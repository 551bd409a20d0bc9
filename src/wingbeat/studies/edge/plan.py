"""What the study of the edge of stability runs: three kinds of momentum, full batch.

Small defaults run in minutes; ``--data cifar10 --samples 5000`` is the paper's setting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from wingbeat.errors import RequestError
from wingbeat.study.condition import Condition
from wingbeat.study.plan_options import option
from wingbeat.tasks.full_batch import source

SNAPSHOTS: Final = 60
"""Moments at which the sharpness is measured."""
RULES: Final[dict[str, dict[str, Any]]] = {
    "gradient descent": {},
    "Polyak 0.9": {"momentum": 0.9},
    "Nesterov 0.9": {"momentum": 0.9, "nesterov": True},
}
"""Optimizers by name, as arguments of the task."""


@dataclass(frozen=True)
class EdgePlan:
    """What was asked of the study.

    Raises:
        RequestError: no learning rate, or a number out of range.
    """

    rates: tuple[float, ...] = option(
        (0.2, 0.3, 0.4), "Learning rate of gradient descent.", "lr", together="rates"
    )
    polyak_rates: tuple[float, ...] = option(
        (0.3,), "Learning rate with Polyak's momentum 0.9.", "polyak-lr", together="rates"
    )
    nesterov_rates: tuple[float, ...] = option(
        (0.15,), "Learning rate with Nesterov's momentum 0.9.", "nesterov-lr", together="rates"
    )
    data: str = option("digits", "digits or cifar10.")
    n: int = option(500, "Training samples, all in one batch.", "samples")
    hidden: tuple[int, ...] = option((64, 64), "Hidden width.")
    steps: int = option(2000, "Updates.")
    seeds: int = option(3, "Base seeds, from 0 on.")

    def __post_init__(self) -> None:
        every = (*self.rates, *self.polyak_rates, *self.nesterov_rates)
        if not every or min(every) <= 0:
            raise RequestError(f"rates are {every}: give positive learning rates")
        if self.steps < 2 or self.seeds < 1:
            raise RequestError(f"steps {self.steps}, seeds {self.seeds}: use 2 and 1 at least")


def conditions(plan: EdgePlan) -> list[Condition]:
    """Return one condition for each optimizer, learning rate and base seed.

    Example:
        >>> [c.tags["rule"] for c in conditions(EdgePlan(rates=(0.1,), seeds=1))]
        ['gradient descent', 'Polyak 0.9', 'Nesterov 0.9']
    """
    rates = (plan.rates, plan.polyak_rates, plan.nesterov_rates)
    pairs = [(rule, lr) for rule, own in zip(RULES, rates, strict=True) for lr in own]
    return [
        Condition(
            factory="wingbeat.tasks.full_batch:tanh_task",
            arguments={
                "lr": lr,
                **RULES[rule],
                "data": plan.data,
                "digest": source(plan.data).digest,
                "n": plan.n,
                "hidden": list(plan.hidden),
                "steps": plan.steps,
            },
            perturbations=(),
            record_every=max(1, plan.steps // SNAPSHOTS),
            metrics=("train_loss", "accuracy"),
            seeds=(seed,),
            measures=("wingbeat.studies.curvature:sharpness",),
            tags={"rule": rule, "lr": lr, "seed": seed},
        )
        for rule, lr in pairs
        for seed in range(plan.seeds)
    ]
