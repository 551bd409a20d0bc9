"""Directions of a training run along which nothing happens: symmetries of its loss.

A shift of all logits leaves a softmax as it is, the scale of weights before a normalisation
does not matter, and a ReLU unit's incoming weights can be multiplied by what its outgoing ones
are divided by. Each gives directions ξ along which the loss does not change. Where the step J
carries ξ over unchanged, J ξ(s) = ξ(s′), its exponent is exactly 0 whatever the run does:
a largest exponent of 0 then says nothing about the run. That is so for shifts and for weights
that the loss does not depend on. Rescalings are neutral under gradient flow only; a step of
finite size changes them by a share of the order of the learning rate, which is reported.

Candidates are read off the order of the model's layers and believed only as far as they are
verified on the run itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from wingbeat.determinism import derive, seed_torch
from wingbeat.lyapunov.maps.evolve import derivatives
from wingbeat.lyapunov.training.symmetry_families import Family, candidates

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.lyapunov.training.tangent import TangentStep
    from wingbeat.task.step import State

INVARIANT = 1e-9
"""Slope of the loss along a direction, relative to its gradient, that counts as none."""
_EXACT = {torch.float64: 1e-12, torch.float32: 1e-5}
_LOOKED_AT = 8


@dataclass(frozen=True)
class Neutral:
    """A family of directions along which the loss does not change.

    Attributes:
        kind: "shift", "idle" (the loss does not depend on these weights), "scale" or "rescale".
        where: the tensors involved.
        count: number of independent directions.
        slope: largest |g·ξ| ÷ (‖g‖‖ξ‖) seen; 0 = the loss does not change.
        residual: largest ‖J ξ(s) − ξ(s′)‖ ÷ ‖ξ(s)‖ seen over parameters and optimizer state;
            0 = carried over unchanged.
        factor: ⟨ξ(s′), J ξ(s)⟩ ÷ ⟨ξ(s′), ξ(s′)⟩ of the parameters at the last check; below 1
            with weight decay.
        checks: steps at which it was verified.
        exact: whether every residual was rounding only: this many exponents are exactly 0.
        deflated: whether it is what deflation takes out.
    """

    kind: str
    where: tuple[str, ...]
    count: int
    slope: float
    residual: float
    factor: float
    checks: int
    exact: bool
    deflated: bool


class NeutralWatch:
    """The neutral families of a run, verified again and again.

    Args:
        own: the tangent step.
        state: where they are looked for.
        index: the next update there.
    """

    def __init__(self, own: TangentStep, state: State, index: int) -> None:
        self.own = own
        idle = _without_gradient(own, state, index)
        self.families = candidates(own.step.skeleton, own.coordinates.layout, idle)
        self.rows: list[list[tuple[float, float, float]]] = [[] for _ in self.families]
        self.verify(state, index)
        kept = [i for i, rows in enumerate(self.rows) if rows[0][0] <= INVARIANT]
        self.families = [self.families[i] for i in kept]
        self.rows = [self.rows[i] for i in kept]
        tolerance = _EXACT.get(own.step.dtype, 1e-5)
        self.deflated = [
            family
            for family, rows in zip(self.families, self.rows, strict=True)
            if family.project is not None and rows[0][1] <= tolerance
        ]

    def verify(self, state: State, index: int) -> None:
        """Push one random direction of each family through update ``index``."""
        if not self.families:
            return
        own, size = self.own, self.own.coordinates.layout.size
        now = torch.stack([f.direction(state.params) for f in self.families])
        raw = torch.zeros(len(now), own.coordinates.size, dtype=now.dtype, device=now.device)
        raw[:, :size] = now
        after, moved, _ = own(state, raw, index, raw=True)
        expected = torch.zeros_like(raw)
        expected[:, :size] = torch.stack([f.direction(after.params) for f in self.families])
        active = own.coordinates.active
        away = (moved - expected)[:, active].norm(dim=1) / now.norm(dim=1)
        aligned = (moved * expected).sum(1) / (expected * expected).sum(1)
        grad = _gradient(own, state, index)
        slope = (now @ grad).abs() / (now.norm(dim=1) * grad.norm()).clamp_min(1e-300)
        numbers = torch.stack([slope, away, aligned], dim=1).tolist()
        for rows, found in zip(self.rows, numbers, strict=True):
            rows.append((found[0], found[1], found[2]))

    def project(self, tangents: Tensor) -> Tensor:
        """Take the exactly neutral directions out of tangents ``(k, D)`` in natural units.

        What is left are the exponents of the run up to its symmetries: the neutral directions
        are carried over into themselves, so the rest evolves without them.
        """
        if not self.deflated:
            return tangents
        size = self.own.coordinates.layout.size
        params = tangents[:, :size]
        for family in self.deflated:
            assert family.project is not None
            params = family.project(params)
        return torch.cat([params, tangents[:, size:]], dim=1)

    @property
    def removed(self) -> int:
        """How many directions `project` takes out."""
        return sum(family.count for family in self.deflated)

    def found(self) -> tuple[Neutral, ...]:
        """Return the families with what was seen of them."""
        tolerance = _EXACT.get(self.own.step.dtype, 1e-5)
        pairs = zip(self.families, self.rows, strict=True)
        return tuple(_neutral(f, r, tolerance, f in self.deflated) for f, r in pairs)


def _neutral(
    family: Family, rows: list[tuple[float, float, float]], tolerance: float, deflated: bool
) -> Neutral:
    slope, residual = (max(row[i] for row in rows) for i in (0, 1))
    return Neutral(
        family.kind,
        family.where,
        family.count,
        slope,
        residual,
        rows[-1][2],
        len(rows),
        residual <= tolerance,
        deflated,
    )


def _gradient(own: TangentStep, state: State, index: int) -> Tensor:
    seed_torch(derive(own.streams.dropout, index))
    with derivatives():
        grad, _, _ = own.step.gradient(state.params, state.buffers, own.batch(index))
    return grad


def _without_gradient(own: TangentStep, state: State, index: int) -> Tensor:
    """Return which weights ``(P,)`` have a gradient of exactly 0 in several batches."""
    last = min(own.task.steps, index + _LOOKED_AT)
    grads = [_gradient(own, state, i) for i in range(index, max(last, index + 1))]
    return (torch.stack(grads) == 0).all(0)
