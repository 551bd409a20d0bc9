"""A direction that the user brings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from wingbeat.arguments import points_of
from wingbeat.errors import nearest
from wingbeat.replicas.perturb.magnitude import norm, require_scale
from wingbeat.replicas.perturb.perturbation import Nudge, Tensors
from wingbeat.task.describe import tensors_digest


@dataclass(frozen=True)
class Direction(Nudge):
    """Add ``scale`` times given tensors; the same for every replica.

    Args:
        tensors: direction by parameter name; tensors left out do not move.
        scale: factor, above 0. The direction is not normalised.

    Example:
        >>> import torch
        >>> Direction({"weight": torch.ones(2, 2)}, 0.5).describe()["norm"]
        2.0
    """

    kind: ClassVar[str] = "direction"
    described_apart: ClassVar[tuple[str, ...]] = ("tensors",)
    tensors: Tensors = field(repr=False, hash=False, compare=False)
    scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_scale(self, self.scale)
        given = isinstance(self.tensors, Mapping) and bool(self.tensors)
        kept: dict[str, Tensor] = {}
        advice = "give {parameter name: tensor}; a direction cannot be written in words"
        self.require(given, "tensors", self.tensors, advice)
        for name, given_tensor in self.tensors.items():
            self.require(isinstance(name, str), "tensors", name, "name the parameter")
            tensor = _real(given_tensor, name)
            finite = bool(torch.isfinite(tensor).all())
            self.require(finite, "tensors", name, "its numbers must all be finite")
            kept[name] = tensor
        object.__setattr__(self, "tensors", kept)

    def size_label(self) -> str:
        """Return the scale."""
        return f"{self.scale:g}"

    def check(self, params: Tensors, steps: int) -> None:
        """Refuse names and shapes that the model does not have."""
        super().check(params, steps)
        for name, tensor in self.tensors.items():
            self.require(name in params, "tensors", name, nearest(name, params))
            asked, has = tuple(tensor.shape), tuple(params[name].shape)
            self.require(asked == has, "tensors", asked, f"{name} has shape {has} in the model")

    def describe(self) -> dict[str, Any]:
        """Return what was asked; the tensors by name, norm and digest."""
        ordered = {name: self.tensors[name] for name in sorted(self.tensors)}
        own = {"norm": norm(ordered), "tensors": list(ordered), "digest": tensors_digest(ordered)}
        return {**super().describe(), **own}

    def delta(self, params: Tensors, gradient: Callable[[int], Tensors], replica: int) -> Tensors:
        """Return the scaled direction on the chosen tensors."""
        chosen = self.chosen(params)
        return {k: self.scale * t.double().cpu() for k, t in self.tensors.items() if k in chosen}


def _real(given: Any, name: str) -> Tensor:
    """Return real numbers as a tensor without gradient."""
    found = points_of(given, f"Direction.tensors[{name!r}]")
    return found if isinstance(found, Tensor) else torch.as_tensor(found)
