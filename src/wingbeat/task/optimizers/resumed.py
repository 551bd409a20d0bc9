"""What an optimizer object already holds when it is handed over, for its pure form.

A factory may load a checkpoint (``optimizer.load_state_dict``): the moments, and how many steps
were taken, then go on from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from wingbeat.errors import DriverError
from wingbeat.task.optimizers.grouped import Grouped
from wingbeat.task.optimizers.pure import PureOptimizer, State


def taken(
    form: type[PureOptimizer], optimizer: torch.optim.Optimizer, options: Mapping[str, Any]
) -> int:
    """Return how many steps the parameters of one group have taken.

    Raises:
        DriverError: they have taken different numbers of steps.
    """
    moved = [p for p in options["params"] if p.requires_grad]
    counts = {form.steps_taken(optimizer.state.get(p, {}), options) for p in moved}
    if len(counts) > 1:
        name = type(optimizer).__name__
        msg = f"{name}: its parameters have taken different numbers of steps: {sorted(counts)}"
        raise DriverError(msg)
    return counts.pop() if counts else 0


def resumed_state(
    rule: PureOptimizer, optimizer: torch.optim.Optimizer, groups: Sequence[Sequence[Tensor]]
) -> State | None:
    """Return the state that an optimizer was handed over with, or None for a fresh one.

    Args:
        rule: its pure form.
        optimizer: the object.
        groups: the trainable parameters of each group, in the order of the flat vector.

    Raises:
        DriverError: an entry that the next step needs is missing.
    """
    members = [group for group in groups if group]
    if not any(optimizer.state.get(p) for group in members for p in group):
        return None
    states = [
        _group_state(own, optimizer, group)
        for own, group in zip(rule.rules(), members, strict=True)
    ]
    if not isinstance(rule, Grouped):
        return states[0]
    flat = torch.cat([p.detach().reshape(-1) for group in members for p in group])
    return rule.joined(states, flat)


def _group_state(
    rule: PureOptimizer, optimizer: torch.optim.Optimizer, members: Sequence[Tensor]
) -> State:
    pieces = [_one_state(rule, optimizer, p) for p in members]
    return {slot: torch.cat([piece[slot] for piece in pieces]) for slot in rule.slots()}


def _one_state(rule: PureOptimizer, optimizer: torch.optim.Optimizer, parameter: Tensor) -> State:
    weights = parameter.detach().reshape(-1)
    own = {k: v for k, v in optimizer.state.get(parameter, {}).items() if v is not None}
    if not own:
        return rule.start(weights)
    try:
        found = rule.resumed(own)
    except KeyError as missing:
        msg = f"{type(optimizer).__name__}: its loaded state has no {missing}"
        raise DriverError(msg) from missing
    return {slot: t.detach().to(weights).reshape(-1) for slot, t in found.items()}
