"""What the study of useful perturbations runs: ensembles forked at several times, at equal cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

from wingbeat.errors import RequestError, nearest
from wingbeat.replicas.drivers.selection import DriverName
from wingbeat.study.condition import Condition
from wingbeat.study.plan_options import option

NETS: Final[dict[str, dict[str, Any]]] = {
    "dense": {"family": "dense", "shape": [32], "lr": 0.005},
    "cnn": {"family": "cnn", "shape": [6, 12], "lr": 0.01},
    "transformer": {"family": "transformer", "shape": [32, 1], "lr": 0.005},
}
"""Nets by name, with Adam's rate: one layer, two convolutions, one block on four patches."""
DRIVERS: Final[dict[str, DriverName]] = {
    "dense": "lockstep", "cnn": "recorded", "transformer": "lockstep",
}  # fmt: skip
"""Fastest driver of each net on a processor: convolutions gain nothing by being stacked."""
NUDGE, WEIGHT, ORDER, SHIFTS, START, ALL = (
    "nudge", "one weight", "order", "shifts", "another start", "all else",
)  # fmt: skip
"""Kinds: Gaussian noise on all weights; one weight moved; other order of images; other random
shifts of them; another initialisation; another initialisation, order and shifts, the bound."""
AT_START: Final = (START, ALL)
"""Kinds that there are at the start only."""
LONG: Final = "long"
"""The single net that is trained for as many updates as all members together."""


@dataclass(frozen=True)
class UsefulPlan:
    """What was asked of the study.

    Raises:
        RequestError: times without the start or fewer than four, an unknown net, or a number out
            of range.
    """

    nets: tuple[str, ...] = option(("cnn", "transformer"), "dense, cnn or transformer.", "net")
    times: tuple[float, ...] = option(
        (0.0, 0.02, 0.1, 0.5), "When copies are forked, as a share of training.", "share"
    )
    sizes: tuple[float, ...] = option(
        (0.01, 0.5), "Nudge of all weights, in deviations of each tensor.", "scale"
    )
    members: int = option(4, "Members of an ensemble that shares nothing: the cost of all.")
    steps: int = option(400, "Updates of a member.")
    images: int = option(500, "Training images.")
    shifts: bool = option(True, "Move images by a pixel at random; else nothing parts by that.")
    seeds: int = option(5, "Base seeds, from 0 on.")
    driver: str | None = option(
        None, "lockstep, loop or recorded; default what is fastest for the net on a processor."
    )

    def __post_init__(self) -> None:
        for net in self.nets:
            if net not in NETS:
                raise RequestError(f"net is {net!r}: {nearest(net, list(NETS))}")
        if self.driver not in (None, "lockstep", "loop", "recorded"):
            msg = f"driver is {self.driver!r}: use lockstep, loop or recorded"
            raise RequestError(f"{msg}, which give the same bits again")
        if 0.0 not in self.times or not all(0 <= share < 1 for share in self.times):
            raise RequestError(f"times are {self.times}: use shares below 1, 0 among them")
        forks = {round(share * self.steps) for share in self.times}
        if len(forks) < max(4, len(self.times)):
            raise RequestError(f"times are {self.times}: give four or more, each its own update")
        if not self.sizes or min(self.sizes) <= 0 or len(set(self.sizes)) < len(self.sizes):
            raise RequestError(f"sizes are {self.sizes}: give positive ones, each once")
        if self.members < 2 or min(self.seeds, self.images) < 1:
            raise RequestError(
                f"members {self.members}, seeds {self.seeds}, images {self.images}: use 2, 1 and 1 "
                "at least"
            )


def affordable(members: int, share: float) -> int:
    """Return how many members that part at a share of training cost no more than others in full.

    The part that they share is trained once.

    >>> [affordable(4, share) for share in (0.0, 0.1, 0.5)]
    [4, 4, 7]
    """
    return int((members - share) / (1.0 - share) + 1e-9)


def conditions(plan: UsefulPlan) -> list[Condition]:
    """Return one condition for each base seed, net and time, and one of the long training.

    Whole base seeds come first.

    Example:
        >>> len(conditions(UsefulPlan())), len(conditions(UsefulPlan(("cnn",), seeds=2)))
        (50, 10)
    """
    return [
        one
        for seed in range(plan.seeds)
        for net in plan.nets
        for one in (*(_forked(plan, net, share, seed) for share in sorted(plan.times)),
                    _long(plan, net, seed))
    ]  # fmt: skip


def _forked(plan: UsefulPlan, net: str, share: float, seed: int) -> Condition:
    members = affordable(plan.members, share)
    return Condition(
        factory="wingbeat.tasks.small_mnist:small_mnist_task",
        arguments=_arguments(plan, net, plan.steps),
        perturbations=kinds(plan, round(share * plan.steps)),
        replicas=members,
        record_every=plan.steps,
        metrics=("relative_l2", "eval_loss", "accuracy", "disagreement", "ensemble"),
        seeds=(seed,),
        driver=cast("DriverName", plan.driver) or DRIVERS[net],
        measures=("wingbeat.studies.useful_perturbations.measure:ensembles",),
        tags={"net": net, "time": share, "members": members, "long": False, "seed": seed},
    )


def _long(plan: UsefulPlan, net: str, seed: int) -> Condition:
    steps = plan.members * plan.steps
    return Condition(
        factory="wingbeat.tasks.small_mnist:small_mnist_task",
        arguments=_arguments(plan, net, steps),
        perturbations=(),
        record_every=steps,
        metrics=("eval_loss", "accuracy"),
        seeds=(seed,),
        driver="loop",  # a reference and its twin: there is nothing to stack
        measures=("wingbeat.studies.useful_perturbations.measure:single",),
        tags={"net": net, "time": 0.0, "members": 1, "long": True, "seed": seed},
    )


def _arguments(plan: UsefulPlan, net: str, steps: int) -> dict[str, Any]:
    return {
        **NETS[net],
        "steps": steps,
        "samples": plan.images,
        "batch_size": 32,
        "shifts": plan.shifts,
        "decay": True,
    }


def kinds(plan: UsefulPlan, at: int) -> tuple[dict[str, Any], ...]:
    """Return the perturbations of one moment, each under its name.

    >>> [p["name"] for p in kinds(UsefulPlan(sizes=(0.1,)), 0)]
    ['nudge 0.1', 'one weight', 'order', 'shifts', 'another start', 'all else']
    """
    found: list[dict[str, Any]] = [
        {"kind": "gaussian", "scale": size, "name": f"{NUDGE} {size:g}"}
        for size in sorted(plan.sizes)
    ]
    found += [
        {"kind": "singleweight", "scale": 1.0, "name": WEIGHT},
        {"kind": "order", "name": ORDER},
    ]
    if plan.shifts:
        found += [{"kind": "augmentation", "name": SHIFTS}]
    if at == 0:
        found += [{"kind": "init", "name": START}, {"kind": "all", "name": ALL}]
    return tuple({**one, "at": at} for one in found)
