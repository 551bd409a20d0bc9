"""Several parameter groups, each with its own hyper-parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wingbeat.task.optimizers.pure import PureOptimizer, State


@dataclass(frozen=True)
class ParameterGroup:
    """One parameter group: a slice of the flat vector and the rule that moves it."""

    place: slice
    rule: PureOptimizer


@dataclass(frozen=True)
class Grouped(PureOptimizer):
    """Rules side by side on neighbouring slices of the flat vector.

    ``groups`` lie in the vector's order and cover it without gap. A state vector that
    only some groups have is 0 in the others.

    >>> from wingbeat.task.optimizers import Sgd
    >>> places = slice(0, 1), slice(1, 3)
    >>> rule = Grouped(tuple(map(ParameterGroup, places, (Sgd(1.0), Sgd(2.0)))))
    >>> c = [torch.tensor(x, dtype=torch.float64) for x in rule.coefficients(0, 1.0)]
    >>> rule.update(torch.ones(3), {}, torch.zeros(3), c)
    (tensor([-1., -2., -2.]), {})
    """

    groups: tuple[ParameterGroup, ...]

    def slots(self) -> tuple[str, ...]:
        """Return every group's state vectors, each name once."""
        return tuple(dict.fromkeys(slot for g in self.groups for slot in g.rule.slots()))

    def start(self, params: Tensor) -> State:
        """Return every group's initial state, joined."""
        pieces = self._split(params)
        states = [g.rule.start(piece) for g, piece in zip(self.groups, pieces, strict=True)]
        return self.joined(states, params)

    def resumed(self, own: Mapping[str, Tensor]) -> State:
        """Refuse: a parameter belongs to one group, whose rule knows its state."""
        raise TypeError(f"ask one group's rule, not all of them, for {sorted(own)}")

    def coefficients(self, step: int, factor: float) -> tuple[float, ...]:
        """Return the groups' coefficients one after the other."""
        return self.coefficients_each(step, [factor] * len(self.groups))

    def coefficients_each(self, step: int, factors: Sequence[float]) -> tuple[float, ...]:
        """Return the coefficients where each group's schedule has a factor of its own."""
        pairs = zip(self.groups, factors, strict=True)
        return tuple(x for g, factor in pairs for x in g.rule.coefficients(step, factor))

    def joined(self, states: Sequence[State], params: Tensor) -> State:
        """Return the groups' states as one, for parameters ``(P,)``; 0 where a group has none."""
        zeros = [dict.fromkeys(self.slots(), torch.zeros_like(p)) for p in self._split(params)]
        return self._join(states, zeros)

    def update(
        self, grad: Tensor, state: Mapping[str, Tensor], params: Tensor, c: Sequence[Tensor]
    ) -> tuple[Tensor, State]:
        """Take one step in each slice; see :meth:`PureOptimizer.update`."""
        split = {slot: self._split(vector) for slot, vector in state.items()}
        old = [{slot: split[slot][i] for slot in split} for i in range(len(self.groups))]
        moved, new, first = [], [], 0
        for group, g, p, s in zip(
            self.groups, self._split(grad), self._split(params), old, strict=True
        ):
            last = first + len(group.rule.coefficients(0, 1.0))
            piece, fresh = group.rule.update(g, s, p, c[first:last])
            moved.append(piece)
            new.append(fresh)
            first = last
        return torch.cat(moved, dim=-1), self._join(new, old)

    def _split(self, vector: Tensor) -> tuple[Tensor, ...]:
        sizes = [g.place.stop - g.place.start for g in self.groups]
        return torch.split_with_sizes(vector, sizes, dim=-1)

    def _join(self, new: Sequence[State], old: Sequence[State]) -> State:
        """Join the pieces of each slot; a group without it hands on what it had."""
        pairs = list(zip(new, old, strict=True))
        return {s: torch.cat([n.get(s, o[s]) for n, o in pairs], dim=-1) for s in self.slots()}

    def without_rates(self) -> Grouped:
        """Return the groups' rules so."""
        groups = (ParameterGroup(g.place, g.rule.without_rates()) for g in self.groups)
        return replace(self, groups=tuple(groups), taken=0)

    def rules(self) -> tuple[PureOptimizer, ...]:
        """Return the groups' rules."""
        return tuple(group.rule for group in self.groups)

    def natural_scale(self, params: Tensor, slots: Mapping[str, Tensor]) -> State:
        """Return the groups' units, joined; a slot that a group has no unit for has 1 there."""
        pieces = self._split(params)
        own = [
            g.rule.natural_scale(piece, {name: s[g.place] for name, s in slots.items()})
            for g, piece in zip(self.groups, pieces, strict=True)
        ]
        names = dict.fromkeys(name for scales in own for name in scales)
        ones = [torch.ones_like(piece) for piece in pieces]
        return {
            name: torch.cat([s.get(name, one) for s, one in zip(own, ones, strict=True)])
            for name in names
        }
