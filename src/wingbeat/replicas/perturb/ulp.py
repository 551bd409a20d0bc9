"""The smallest perturbation that exists."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from wingbeat.replicas.perturb.magnitude import pick
from wingbeat.replicas.perturb.perturbation import Nudge, Tensors, is_count


@dataclass(frozen=True)
class Ulp(Nudge):
    """Move ``n`` random weights to the next floating-point number, up or down.

    Source: Summers and Dinneen, "Nondeterminism and Instability in Neural Network
    Optimization" (ICML 2021, arXiv 2103.04514).

    Example:
        >>> Ulp(3).label
        'ulp-3@0'
    """

    kind: ClassVar[str] = "ulp"
    n: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(is_count(self.n, 1), "n", self.n, "use a whole number of weights, at least 1")

    def size_label(self) -> str:
        """Return the number of weights."""
        return f"{self.n}"

    def check(self, params: Tensors, steps: int) -> None:
        """Refuse more weights than there are."""
        super().check(params, steps)
        total = sum(t.numel() for t in self.chosen(params).values())
        self.require(self.n <= total, "n", self.n, f"only {total} weights are chosen")

    def delta(self, params: Tensors, gradient: Callable[[int], Tensors], replica: int) -> Tensors:
        """Return the gaps to the next numbers; float64 holds them exactly."""
        chosen, generator = self.chosen(params), self.generator(replica)
        out: dict[str, Tensor] = {}
        for name, place in pick(chosen, self.n, generator):
            weight = chosen[name].reshape(-1)[place]
            up = float(torch.rand((), generator=generator)) < 0.5
            target = torch.nextafter(
                weight, torch.tensor(math.inf if up else -math.inf, dtype=weight.dtype)
            )
            zeros = torch.zeros(chosen[name].numel(), dtype=torch.float64)
            out.setdefault(name, zeros)[place] = target.double() - weight.double()
        return {name: flat.view(chosen[name].shape) for name, flat in out.items()}
