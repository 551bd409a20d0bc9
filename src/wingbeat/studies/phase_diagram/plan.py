"""What the study of the phase diagram runs: places (γ, γ') at several widths."""

from __future__ import annotations

from dataclasses import dataclass

from wingbeat.errors import RequestError
from wingbeat.study.condition import Condition
from wingbeat.study.plan_options import option


@dataclass(frozen=True)
class DiagramPlan:
    """What was asked of the study.

    Raises:
        RequestError: fewer than two widths, or an axis without values.
    """

    gammas: tuple[float, ...] = option((0.5, 1.0, 1.5, 1.75), "Value of γ.", "gamma")
    gamma_primes: tuple[float, ...] = option((0.0, 1.0), "Value of γ'.", "gamma-prime")
    widths: tuple[int, ...] = option((64, 256, 1024), "Width m; give two or more.", "width")
    seeds: int = option(3, "Base seeds, from 0 on.")
    time: float = option(100.0, "Length of training in tens of steps.")

    def __post_init__(self) -> None:
        if len(set(self.widths)) < 2 or not self.gammas or not self.gamma_primes:
            raise RequestError(f"widths are {self.widths}: give two or more, and both exponents")
        if self.seeds < 1 or not self.time > 0:
            raise RequestError(f"seeds {self.seeds}, time {self.time}: use 1 and more than 0")


def conditions(plan: DiagramPlan) -> list[Condition]:
    """Return one condition for each place, width and base seed.

    Example:
        >>> len(conditions(DiagramPlan(seeds=1)))
        24
    """
    return [
        Condition(
            factory="wingbeat.tasks.full_batch:two_layer_task",
            arguments={"width": m, "gamma": g, "gamma_prime": p, "time": plan.time},
            perturbations=(),
            record_every=max(1, round(10 * plan.time)),
            metrics=("train_loss",),
            seeds=(seed,),
            measures=("wingbeat.studies.curvature:phase",),
            tags={"gamma": g, "gamma_prime": p, "width": m, "seed": seed},
        )
        for g in plan.gammas
        for p in plan.gamma_primes
        for m in plan.widths
        for seed in range(plan.seeds)
    ]
