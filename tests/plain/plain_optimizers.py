"""Optimizers as other people publish them: composites, wrappers, and their habits with closures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, optim

Closure = Callable[[], Tensor] | None


class NoClosure(optim.Optimizer):
    """Signed momentum; its ``step`` takes no closure."""

    def __init__(self, params: Any, lr: float = 1e-3) -> None:
        super().__init__(params, {"lr": lr, "beta": 0.9})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Move along the smoothed gradient."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                mean = state.setdefault("mean", torch.zeros_like(p))
                mean.mul_(group["beta"]).add_(p.grad)
                p.add_(mean, alpha=-group["lr"])


class IgnoresClosure(NoClosure):
    """Takes a closure and never calls it."""

    def step(self, closure: Closure = None) -> None:  # type: ignore[override]
        """Move along the gradients that are there."""
        super().step()


class ClosureWithoutGrad(NoClosure):
    """Calls its closure under ``no_grad``, as Adan and Hugging Face's Adafactor do."""

    @torch.no_grad()
    def step(self, closure: Closure = None) -> Any:  # type: ignore[override]
        """Evaluate the closure, then move along the gradients that are there."""
        loss = None if closure is None else closure()
        super().step()
        return loss


class Lookahead(optim.Optimizer):
    """Lookahead as it is published: a wrapper that borrows the groups of its base."""

    def __init__(self, base: optim.Optimizer, k: int = 3, alpha: float = 0.5) -> None:
        self.base, self.k, self.alpha = base, k, alpha
        self.param_groups, self.defaults = base.param_groups, base.defaults
        self.state: Any = defaultdict(dict)
        self.counter = 0

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of the base."""
        self.base.zero_grad(set_to_none)

    def step(self, closure: Closure = None) -> Any:  # type: ignore[override]
        """Let the base step; pull to the slow weights now and then."""
        loss = self.base.step(closure)  # type: ignore[arg-type]
        self.counter += 1
        if self.counter % self.k == 0:
            self._pull()
        return loss

    @torch.no_grad()
    def _pull(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                slow = self.state[p].setdefault("slow", p.detach().clone())
                slow.add_(p - slow, alpha=self.alpha)
                p.copy_(slow)


class EagerLookahead(optim.Optimizer):
    """Lookahead that clones its slow weights into a list when it is made."""

    def __init__(self, params: Any, lr: float = 0.02, k: int = 3) -> None:
        params = list(params)
        super().__init__(params, {"lr": lr})
        self.base, self.k, self.counter = optim.SGD(params, lr=lr, momentum=0.9), k, 0
        self.slow = [p.detach().clone() for p in params]

    def step(self, closure: Closure = None) -> Any:  # type: ignore[override]
        """Let the base step; pull to the slow weights now and then."""
        loss = self.base.step(closure)  # type: ignore[arg-type]
        self.counter += 1
        if self.counter % self.k == 0:
            with torch.no_grad():
                for p, slow in zip(self.param_groups[0]["params"], self.slow, strict=True):
                    slow.lerp_(p, 0.5)
                    p.copy_(slow)
        return loss


class MuonAdamW(optim.Optimizer):
    """Muon for matrices and AdamW for the rest, each an optimizer of its own within one object."""

    def __init__(self, params: Any, lr: float = 0.01) -> None:
        params = list(params)
        super().__init__(params, {"lr": lr})
        matrices, rest = [p for p in params if p.dim() == 2], [p for p in params if p.dim() != 2]
        self.inner = [optim.Muon(matrices, lr=lr), optim.AdamW(rest, lr=lr)]

    def step(self, closure: Closure = None) -> Any:  # type: ignore[override]
        """Let both step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for inner in self.inner:
            inner.step()
        return loss


class Sam(optim.Optimizer):
    """Sharpness-aware minimisation around a base optimizer; the closure is called twice."""

    def __init__(self, params: Any, rho: float = 0.05, **options: Any) -> None:
        super().__init__(params, {"rho": rho, **options})
        self.base = optim.SGD(self.param_groups, **options)

    def step(self, closure: Closure = None) -> Any:  # type: ignore[override]
        """Climb, evaluate there, come back, and descend."""
        assert closure is not None
        with torch.enable_grad():
            loss = closure()
        self.climb()
        with torch.enable_grad():
            closure()
        self.descend()
        return loss

    @torch.no_grad()
    def climb(self) -> None:
        """Move to where the loss is larger."""
        params = [p for g in self.param_groups for p in g["params"] if p.grad is not None]
        norm = torch.stack([p.grad.norm() for p in params]).norm()
        for p in params:
            self.state[p]["old"] = p.detach().clone()
            p.add_(p.grad * (self.param_groups[0]["rho"] / (norm + 1e-12)))

    @torch.no_grad()
    def descend(self) -> None:
        """Return, and step with the gradient found there."""
        for p, state in self.state.items():
            if isinstance(p, Tensor) and "old" in state:
                p.copy_(state["old"])
        self.base.step()


class SamAfterBackward(Sam):
    """SAM of the most used script: gradients are there before ``step``, which returns nothing."""

    def step(self, closure: Closure = None) -> None:  # type: ignore[override]
        """Climb by the gradients that are there, evaluate once, and descend."""
        assert closure is not None
        self.climb()
        self.zero_grad()
        with torch.enable_grad():
            closure()
        self.descend()


def adafactor(params: Any, **options: Any) -> optim.Optimizer:
    """Return Hugging Face's Adafactor."""
    from transformers.optimization import Adafactor

    found: optim.Optimizer = Adafactor(params, **options)
    return found


def by_axes(params: Any, kind: type[optim.Optimizer], **options: Any) -> optim.Optimizer:
    """Decay matrices and not vectors, as every recipe of a transformer does."""
    params = list(params)
    return kind(
        [
            {"params": [p for p in params if p.dim() > 1], "weight_decay": 0.1},
            {"params": [p for p in params if p.dim() < 2], "weight_decay": 0.0},
        ],
        **options,
    )
