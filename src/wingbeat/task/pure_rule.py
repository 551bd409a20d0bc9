"""The pure form of a task's optimizer, with what it holds already, or the reason why not."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from wingbeat.errors import DriverError
from wingbeat.task.optimizers import PureOptimizer, pure_optimizer, resumed_state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch
    from torch import Tensor

    from wingbeat.task.schedule import ScheduleTable


def pure_rule(
    owner: torch.optim.Optimizer,
    named: Sequence[Mapping[str, Tensor]],
    table: ScheduleTable | None,
) -> tuple[PureOptimizer | None, dict[str, Tensor] | None, str]:
    """Return an optimizer's pure form, the state it was handed over with, and why there is none.

    Args:
        owner: the optimizer.
        named: the trainable parameters of each of its groups.
        table: of a scheduler; its factors refer to the rates that it began with.
    """
    if table is not None and table.moves:
        return None, None, f"{table.kind} moves {table.moves[0]} too"
    sizes = [sum(p.numel() for p in members.values()) for members in named]
    ends = list(accumulate(sizes, initial=0))
    places = [slice(a, b) for a, b in pairwise(ends)]
    try:
        rule = pure_optimizer(_based(owner, table), places)
        handed = resumed_state(rule, owner, [list(group.values()) for group in named])
    except DriverError as error:
        return None, None, str(error)
    return rule, handed, ""


def _based(owner: torch.optim.Optimizer, table: ScheduleTable | None) -> torch.optim.Optimizer:
    """Return the optimizer with the learning rates that the schedule's factors refer to."""
    if table is not None:
        for group, base in zip(owner.param_groups, table.base, strict=True):
            group["lr"] = base
    return owner
