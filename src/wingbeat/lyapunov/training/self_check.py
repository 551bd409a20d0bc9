"""Compare the tangent step with finite differences of the engine's own step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from wingbeat.errors import RequestError
from wingbeat.lyapunov.training.tangent import INSTEAD, TangentStep

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.task.step import State

SIZES = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
"""Perturbations that are tried, in natural units; a kink spoils large, rounding small ones."""
SMALLEST = 1e-2
"""Sums of squares below this, in natural units, are not moved: their root has a kink at 0."""
TOLERANCE = 1e-4
"""Relative disagreement at the best of them that is accepted: wrong derivatives miss by 1e-2."""


def finite_difference(own: TangentStep, state: State, tangent: Tensor, index: int) -> Tensor:
    """Return central differences of the plain step along one tangent, ``(len(SIZES), D)``.

    Args:
        own: the tangent step whose plain step is used, in float64.
        state: where.
        tangent: ``(D,)`` in natural units.
        index: of the update.
    """
    place, raw = own.coordinates.flat(state), tangent / own.scales(state)
    after, _ = own.plain(state, index)
    scales = own.scales(after)

    def ahead(size: float) -> Tensor:
        moved, _ = own.plain(own.coordinates.state(place + size * raw, state), index)
        return own.coordinates.flat(moved)

    return torch.stack([(ahead(e) - ahead(-e)) / (2 * e) * scales for e in SIZES])


def disagreement(own: TangentStep, state: State, tangent: Tensor, index: int) -> float:
    """Return ‖difference − tangent‖ ÷ ‖tangent‖ at the best perturbation size, ≥ 0; 0 = equal."""
    _, moved, _ = own(state, tangent[None], index)
    away = finite_difference(own, state, tangent, index) - moved
    return float(away.norm(dim=1).nan_to_num(torch.inf).min() / moved.norm())


def check_tangent(own: TangentStep, state: State, index: int) -> float:
    """Compare along two random tangents and return the larger disagreement.

    Args:
        own: the tangent step; one of another type than float64 is checked in float64.
        state: where.
        index: of the update.

    Raises:
        RequestError: they do not agree, so the derivative that torch gives for this model is
            not that of its step: a stop-gradient, a custom backward pass, a wrong kernel.
    """
    if own.step.dtype != torch.float64:
        own = TangentStep(own.task, torch.float64, own.step.device, seed=own.seed, recorded=False)
        state = state.map(lambda t: t.double() if t.is_floating_point() else t)
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for _ in range(2):
        drawn = torch.randn(own.coordinates.size, generator=generator, dtype=torch.float64)
        drawn = drawn.to(own.step.device) * _free(own, state)
        worst = max(worst, disagreement(own, state, drawn, index))
    if not worst <= TOLERANCE:
        raise RequestError(
            f"the derivative of the training step misses its finite difference by {worst:.1e} "
            f"(relative, at step {index}): the model holds something that torch differentiates "
            f"otherwise than it computes (detach, a custom backward, a kink); {INSTEAD}, or pass "
            "check=False"
        )
    return worst


def _free(own: TangentStep, state: State) -> Tensor:
    """Return which coordinates ``(D,)`` can be moved: not a sum of squares that is nearly 0."""
    level = own.coordinates.flat(state) * own.scales(state)
    free = torch.ones_like(level)
    rule = own.step.optimizer
    squares = {name for one in rule.rules() for name in one.squares} if rule is not None else set()
    for name in own.coordinates.slots:
        if name in squares:
            place = own.coordinates.blocks[name]
            free[place] = (level[place] > SMALLEST).to(free)
    return free
