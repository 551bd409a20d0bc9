"""Gaussian noise on the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from wingbeat.replicas.perturb import magnitude
from wingbeat.replicas.perturb.perturbation import Nudge, Tensors


@dataclass(frozen=True)
class Gaussian(Nudge):
    """Add independent Gaussian noise.

    Args:
        scale: magnitude σ, above 0.
        relative_to: "tensor_std": each tensor gets σ times its own standard deviation (its
            root mean square where that is zero or undefined, so that one-element and constant
            tensors move in proportion to their size and zero tensors not at all);
            "init": the noise has norm σ·E, E being the expected norm of the initial weights
            (``expected_init_norm``), with the initialisation's proportions between tensors;
            "norm": norm σ times that of the chosen weights; "absolute": standard deviation σ.
        fraction: share of the chosen weights that is perturbed.

    Raises:
        RequestError: a scale that is not a finite number above 0, an unknown reference.

    Example:
        >>> Gaussian(0.01, at=500).label
        'gaussian-0.01@500'
    """

    kind: ClassVar[str] = "gaussian"
    scale: float
    relative_to: magnitude.RelativeTo = field(default="tensor_std", kw_only=True)
    fraction: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        magnitude.require_magnitude(self, self.scale, self.relative_to, self.fraction)

    def size_label(self) -> str:
        """Return the scale."""
        return f"{self.scale:g}"

    def delta(self, params: Tensors, gradient: Callable[[int], Tensors], replica: int) -> Tensors:
        """Return the scaled noise."""
        chosen, generator = self.chosen(params), self.generator(replica)
        noise = {name: _normal(t, generator) for name, t in chosen.items()}
        mask = magnitude.masks(chosen, self.fraction, generator)
        stds = self._stds(params, chosen)
        for name, n in noise.items():  # in place: in float64 it is twice as large as the weights
            n.mul_(stds[name]).mul_(mask[name])
        if self.relative_to in ("tensor_std", "absolute"):
            return {name: n.mul_(self.scale) for name, n in noise.items()}
        length = magnitude.reference_norm(params, chosen, mask, self.relative_to)
        return magnitude.to_norm(noise, self.scale * length)

    def _stds(self, params: Tensors, chosen: Tensors) -> dict[str, float]:
        if self.relative_to == "tensor_std":
            return {name: magnitude.size_of(t) for name, t in chosen.items()}
        if self.relative_to == "init":
            return magnitude.init_stds(params)
        return dict.fromkeys(chosen, 1.0)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=torch.float64)
