"""What the spawn-and-perturb study says before anything is trained: how much, on what data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wingbeat.study.condition import Condition

if TYPE_CHECKING:
    from wingbeat.studies.butterfly.plan import ButterflyPlan


def announcement(
    plan: ButterflyPlan, grid: Sequence[Condition], left: Sequence[Condition], _: int = 1
) -> list[str]:
    """Return what is said before anything is trained: how much, on what data."""
    runs = f"{len(plan.interventions)} interventions x {len(plan.base_seeds)} base seeds"
    cells = "/".join(dict.fromkeys(str(len(c.perturbations)) for c in grid))
    lines = [f"{runs}, each: {cells} cells x {plan.copies} replicas, one pass"]
    lines += [f"  {name}" for name in dict.fromkeys(str(c.tags["task"]) for c in grid)]
    if left:
        one, pairs = (sum(x) for x in zip(*(replica_steps(c) for c in left), strict=True))
        lines.append(f"{one:,} replica-steps to train; each pair from scratch would be {pairs:,}")
    return lines


def replica_steps(condition: Condition) -> tuple[int, int]:
    """Return the updates of a condition in one pass, and of each pair trained from scratch.

    The pass trains the reference and its unperturbed twin once and every replica from its fork;
    a pair trains a reference of its own and a replica, the prefix in common.

    Example:
        >>> one = Condition("m:f", perturbations=({"kind": "ulp", "at": 5},), replicas=2,
        ...                 tags={"length": 10})
        >>> replica_steps(one)
        (30, 30)
    """
    length, count = int(condition.tags["length"]), condition.replicas
    rest = [length - int(p["at"]) for p in condition.perturbations]
    return 2 * length + count * sum(rest), count * sum(length + left for left in rest)
