"""A step along the gradient of one training batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from wingbeat.replicas.perturb import magnitude
from wingbeat.replicas.perturb.perturbation import Nudge, Tensors


@dataclass(frozen=True)
class BatchGradient(Nudge):
    """Step uphill along the gradient of the loss on one training batch.

    Each replica uses another batch. Source: arXiv 2506.13234, section 3.

    Args:
        scale: length of the step, above 0, as a multiple of what ``relative_to`` names.
        relative_to: "init" (expected norm of the initial weights), "norm" (norm of the chosen
            weights) or "absolute" (1).
        fraction: share of the chosen weights that is perturbed.

    Example:
        >>> BatchGradient(1e-3, at=500).label
        'batchgradient-0.001@500'
    """

    kind: ClassVar[str] = "batchgradient"
    scale: float
    relative_to: magnitude.RelativeTo = field(default="init", kw_only=True)
    fraction: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        magnitude.require_magnitude(self, self.scale, self.relative_to, self.fraction)
        advice = 'a gradient has one norm for all tensors: use "init", "norm" or "absolute"'
        fine = self.relative_to != "tensor_std"
        self.require(fine, "relative_to", self.relative_to, advice)

    def size_label(self) -> str:
        """Return the scale."""
        return f"{self.scale:g}"

    def delta(self, params: Tensors, gradient: Callable[[int], Tensors], replica: int) -> Tensors:
        """Return the scaled gradient."""
        chosen = self.chosen(params)
        mask = magnitude.masks(chosen, self.fraction, self.generator(replica))
        slope = gradient(self.derived(replica))
        kept = {name: slope[name].double().cpu() * mask[name] for name in chosen}
        length = magnitude.reference_norm(params, chosen, mask, self.relative_to)
        return magnitude.to_norm(kept, self.scale * length)
