"""One weight moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from wingbeat.replicas.perturb import magnitude
from wingbeat.replicas.perturb.perturbation import Nudge, Tensors


@dataclass(frozen=True)
class SingleWeight(Nudge):
    """Move one random weight, up or down.

    Args:
        scale: distance, above 0, as a multiple of what ``relative_to`` names.
        relative_to: the weight's tensor's standard deviation at initialisation ("init") or now
            ("tensor_std"), the norm of the chosen weights ("norm"), or 1 ("absolute").

    Example:
        >>> SingleWeight(0.1, at=10).label
        'singleweight-0.1@10'
    """

    kind: ClassVar[str] = "singleweight"
    scale: float = 0.01
    relative_to: magnitude.RelativeTo = field(default="init", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        magnitude.require_magnitude(self, self.scale, self.relative_to, 1.0)

    def size_label(self) -> str:
        """Return the scale."""
        return f"{self.scale:g}"

    def delta(self, params: Tensors, gradient: Callable[[int], Tensors], replica: int) -> Tensors:
        """Return a tensor with one entry that is not zero."""
        chosen, generator = self.chosen(params), self.generator(replica)
        ((name, place),) = magnitude.pick(chosen, 1, generator)
        sign = 1.0 if float(torch.rand((), generator=generator)) < 0.5 else -1.0
        delta = torch.zeros(chosen[name].numel(), dtype=torch.float64)
        delta[place] = sign * self.scale * self._size(params, chosen, name)
        return {name: delta.view(chosen[name].shape)}

    def _size(self, params: Tensors, chosen: Tensors, name: str) -> float:
        if self.relative_to == "init":
            return magnitude.init_stds(params)[name]
        if self.relative_to == "tensor_std":
            return magnitude.size_of(chosen[name])
        return magnitude.norm(chosen) if self.relative_to == "norm" else 1.0
