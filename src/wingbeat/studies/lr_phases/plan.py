"""What the study of learning-rate phases runs: one task over a sweep of learning rates."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from typing import Any

from wingbeat.errors import RequestError
from wingbeat.study.condition import Condition, named
from wingbeat.study.plan_options import argument, option


@dataclass(frozen=True)
class PhasesPlan:
    """What was asked of the study.

    Attributes:
        rates: ascending; none given takes a quarter to 16 times the factory's own.

    Raises:
        RequestError: fewer than two learning rates, one that is not positive, or no seed.
    """

    factory: str = argument("Function that returns a wb.Task.", "MODULE:FACTORY")
    rates: tuple[float, ...] = option(
        (), "Learning rate, twice or more; default 1/4 to 16 times the factory's", "lr"
    )
    arguments: dict[str, Any] = option({}, "Argument of the factory, name=value.", "arg")
    rate_name: str = option("lr", "Name of the factory's argument for the learning rate.")
    seeds: int = option(3, "Base seeds, from 0 on.")
    replicas: int = option(2, "Nudged copies; 0 leaves the spread out.")
    record_every: int | None = option(None, "Steps between snapshots; default about 20 in all.")
    target: float | None = option(None, "Accuracy to reach; default 95 % of the best.")
    exponents: bool = option(True, "Measure the largest exponent (as slow as several trainings).")

    def __post_init__(self) -> None:
        own = tuple(sorted(self.rates)) or usual_rates(self.factory, self.rate_name)
        object.__setattr__(self, "rates", own)
        if len(self.rates) < 2 or min(self.rates) <= 0:
            raise RequestError(f"rates are {self.rates}: give two or more positive ones")
        if self.seeds < 1 or self.replicas < 0:
            raise RequestError(f"seeds {self.seeds}, replicas {self.replicas}: too few")


def usual_rates(factory: str, rate_name: str = "lr") -> tuple[float, ...]:
    """Return a sweep around a factory's own learning rate: from a quarter to 16 times it.

    Args:
        factory: ``module:function``.
        rate_name: its argument for the learning rate.

    Raises:
        RequestError: it has no such argument, or no number as its default.

    Example:
        >>> usual_rates("wingbeat.tasks.full_batch:tanh_task")
        (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
    """
    known = signature(named(factory)).parameters
    default = known[rate_name].default if rate_name in known else None
    if not isinstance(default, float | int):
        msg = f"{factory} has no default for {rate_name!r}: give --lr two or more times"
        raise RequestError(msg)
    return tuple(default * 2.0**power for power in range(-2, 5))


def conditions(plan: PhasesPlan) -> list[Condition]:
    """Return one condition for each learning rate and base seed.

    Example:
        >>> plan = PhasesPlan("wingbeat.tasks.full_batch:tanh_task", (0.1, 0.2), seeds=2)
        >>> [c.tags["lr"] for c in conditions(plan)]
        [0.1, 0.1, 0.2, 0.2]
    """
    places = ["sharpness", *(["exponent"] if plan.exponents else [])]
    nudge: tuple[dict[str, Any], ...] = ({"kind": "gaussian", "scale": 1e-3},)
    grid = [
        Condition(
            factory=plan.factory,
            arguments={**plan.arguments, plan.rate_name: lr},
            perturbations=nudge if plan.replicas else (),
            replicas=max(1, plan.replicas),
            metrics=("l2", "spread", "train_loss", "eval_loss", "accuracy"),
            seeds=(seed,),
            measures=tuple(f"wingbeat.studies.curvature:{name}" for name in places),
            tags={"lr": lr, "seed": seed},
        )
        for lr in sorted(plan.rates)
        for seed in range(plan.seeds)
    ]
    every = plan.record_every or max(1, grid[0].task().steps // 20)
    return [Condition(**{**vars(c), "record_every": every}) for c in grid]
