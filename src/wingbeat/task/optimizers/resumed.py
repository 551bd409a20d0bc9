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


def taken(optimizer: torch.optim.Optimizer, options: Mapping[str, Any]) -> int:
    """Return how many steps the parameters of one group have taken.

    Of SGD, which keeps no count, 1 stands for any number: only its first step differs.

    Raises:
        DriverError: they have taken different numbers of steps.
    """
    counts = {
        _count(optimizer.state.get(p, {}), options) for p in options["params"] if p.requires_grad
    }
    if isinstance(optimizer, torch.optim.RMSprop):
        return 0  # no number in its step depends on the count
    if len(counts) > 1:
        name = type(optimizer).__name__
        msg = f"{name}: its parameters have taken different numbers of steps: {sorted(counts)}"
        raise DriverError(msg)
    return counts.pop() if counts else 0


def _count(own: Mapping[str, Any], options: Mapping[str, Any]) -> int:
    if "step" in own:
        return int(own["step"])
    return int(bool(options.get("momentum")) and own.get("momentum_buffer") is not None)


def momentum_schedule(
    optimizer: torch.optim.Optimizer, options: Mapping[str, Any], count: int
) -> dict[str, Any]:
    """Return where NAdam's product of momenta stands, and whether it is kept in float32.

    Raises:
        DriverError: it is not the same number for all parameters of the group.
    """
    if not count:
        return {"single_schedule": torch.get_default_dtype() != torch.float64}
    states = (optimizer.state[p] for p in options["params"] if p.requires_grad)
    products = {(float(s["mu_product"]), _is_single(s["mu_product"])) for s in states}
    if len(products) > 1:
        msg = "NAdam: its parameters have different products of momenta"
        raise DriverError(msg)
    product, single = products.pop()
    return {"mu_product": product, "single_schedule": single}


def _is_single(product: Any) -> bool:
    return isinstance(product, Tensor) and product.dtype == torch.float32


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
    rules = [g.rule for g in rule.groups] if isinstance(rule, Grouped) else [rule]
    states = [
        _group_state(own, optimizer, group) for own, group in zip(rules, members, strict=True)
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
