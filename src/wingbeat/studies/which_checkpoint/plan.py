"""What the study of checkpoints runs: copies forked at each, for equally many updates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from wingbeat.errors import RequestError, nearest
from wingbeat.study.condition import Condition
from wingbeat.study.plan_options import option

NETS: Final[dict[str, dict[str, Any]]] = {
    "dense": {"family": "dense", "shape": [32]},
    "cnn": {"family": "cnn", "shape": [8, 16]},
}
"""Nets by name: 256-32-5 with 8,389 weights, and two convolutions with 2,533."""
LR: Final = 0.05
"""Learning rate, momentum 0.9. It stays: averages gain nothing where it has fallen to 0."""
NUDGE, SMALL, ORDER = "nudge", "small nudge", "order"
"""Names of the copies: nudged, nudged a hundredth as far, trained in another order."""
SMALLER: Final = 0.01
"""How much smaller the small nudge is: small enough that its growth is that of tangents."""


@dataclass(frozen=True)
class CheckpointPlan:
    """What was asked of the study.

    Raises:
        RequestError: fewer than four checkpoints, two of them on one update, an unknown net, or a
            number out of range.
    """

    nets: tuple[str, ...] = option(("dense", "cnn"), "dense or cnn.", "net")
    shares: tuple[float, ...] = option(
        (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0), "Checkpoint, as a share of training.", "share"
    )
    steps: int = option(600, "Updates of training.")
    further: int = option(100, "Updates that copies make from their checkpoint on.")
    scale: float = option(0.01, "Nudge, in deviations of each tensor.")
    replicas: int = option(4, "Copies of each kind.")
    seeds: int = option(6, "Base seeds, from 0 on.")

    def __post_init__(self) -> None:
        for net in self.nets:
            if net not in NETS:
                raise RequestError(f"net is {net!r}: {nearest(net, list(NETS))}")
        if not all(0 <= share <= 1 for share in self.shares) or not self.scale > 0:
            raise RequestError(
                f"checkpoints {self.shares}, scale {self.scale}: use shares from 0 to 1 and a "
                "positive size"
            )
        if len(set(self.checkpoints)) < max(4, len(self.shares)):
            raise RequestError(
                f"checkpoints lie at updates {self.checkpoints}: give four or more, each its own"
            )
        if min(self.further, self.seeds) < 1 or self.replicas < 2:
            raise RequestError(
                f"further {self.further}, seeds {self.seeds}, replicas {self.replicas}: use 1, 1 "
                "and 2 at least"
            )

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """Updates at which copies are forked, ascending."""
        return tuple(sorted(round(share * self.steps) for share in self.shares))


def conditions(plan: CheckpointPlan) -> list[Condition]:
    """Return one condition for each base seed, net and checkpoint; whole base seeds come first.

    Example:
        >>> len(conditions(CheckpointPlan())), len(conditions(CheckpointPlan(("cnn",), seeds=2)))
        (96, 16)
    """
    return [
        Condition(
            factory="wingbeat.tasks.small_mnist:small_mnist_task",
            arguments={
                **NETS[net],
                "lr": LR,
                "steps": at + plan.further,
                "digits": "first",
                "optimizer": "sgd",
                "batch_size": 32,
            },
            perturbations=_copies(plan.scale, at),
            replicas=plan.replicas,
            record_every=at + plan.further,  # start, fork and end are what is looked at
            metrics=("l2", "relative_l2", "eval_loss", "accuracy", "disagreement"),
            seeds=(seed,),
            measures=("wingbeat.studies.which_checkpoint.measure:outcomes",),
            tags={"net": net, "at": at, "seed": seed},
        )
        for seed in range(plan.seeds)
        for net in plan.nets
        for at in plan.checkpoints
    ]


def _copies(scale: float, at: int) -> tuple[dict[str, Any], ...]:
    return (
        {"kind": "gaussian", "scale": scale, "at": at, "name": NUDGE},
        {"kind": "gaussian", "scale": scale * SMALLER, "at": at, "name": SMALL},
        {"kind": "order", "at": at, "name": ORDER},
    )
