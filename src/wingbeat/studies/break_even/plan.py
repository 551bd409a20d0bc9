"""What the study of the break-even point runs: a grid of learning rates and batch sizes.

Every run lasts equally long in learning rate × steps: with equal epochs a small learning rate
would be compared before it has got anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wingbeat.errors import RequestError
from wingbeat.study.condition import Condition
from wingbeat.study.plan_options import option
from wingbeat.tasks.full_batch import source

SNAPSHOTS: Final = 20
"""Moments at which gradients and curvature are looked at."""


@dataclass(frozen=True)
class BreakEvenPlan:
    """What was asked of the study.

    Raises:
        RequestError: an axis without values, or a number out of range.
    """

    rates: tuple[float, ...] = option((0.05, 0.2, 0.8), "Learning rate.", "lr")
    batch_sizes: tuple[int, ...] = option((16, 64), "Samples per step.", "batch-size")
    data: str = option("digits", "digits or cifar10.")
    n: int = option(640, "Training samples.", "samples")
    hidden: tuple[int, ...] = option((32, 32), "Hidden width of the tanh net.")
    time: float = option(30.0, "Learning rate × steps, the same for every run.")
    loss: str = option("cross-entropy", "cross-entropy or mse.")
    seeds: int = option(3, "Base seeds, from 0 on.")

    def __post_init__(self) -> None:
        if not self.rates or not self.batch_sizes or min(self.rates) <= 0:
            raise RequestError(f"rates {self.rates}, batches {self.batch_sizes}: give some of each")
        if not 1 <= min(self.batch_sizes) <= max(self.batch_sizes) <= self.n:
            raise RequestError(f"batches {self.batch_sizes}: use 1 to {self.n} samples")
        if self.time < 2 * max(self.rates) or self.seeds < 1:
            msg = f"time {self.time:g}, seeds {self.seeds}: use two steps of each rate and one seed"
            raise RequestError(msg)


def conditions(plan: BreakEvenPlan) -> list[Condition]:
    """Return one condition for each learning rate, batch size and base seed.

    Example:
        >>> len(conditions(BreakEvenPlan(seeds=1)))
        6
    """
    found = []
    for lr in plan.rates:
        for size in plan.batch_sizes:
            steps = round(plan.time / lr)
            found += [
                Condition(
                    factory="wingbeat.tasks.full_batch:tanh_task",
                    arguments={
                        "lr": lr,
                        "batch_size": size,
                        "data": plan.data,
                        "digest": source(plan.data).digest,
                        "n": plan.n,
                        "hidden": list(plan.hidden),
                        "steps": steps,
                        "loss": plan.loss,
                    },
                    perturbations=(),
                    record_every=max(1, steps // SNAPSHOTS),
                    metrics=("train_loss", "accuracy"),
                    seeds=(seed,),
                    measures=("wingbeat.studies.curvature:noise",),
                    tags={"lr": lr, "batch_size": size, "seed": seed},
                )
                for seed in range(plan.seeds)
            ]
    return found
