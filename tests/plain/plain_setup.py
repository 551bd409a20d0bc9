"""What a training set-up is, and which outcomes of ``wb.run`` are honest for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim

import wingbeat as wb

assert wb  # imported first: MKL settles how it rounds at its first call, a sine included

Recipe = dict[str, Any]
"""Arguments of ``wb.Task``, made anew for each training: counters in it start at zero."""


@dataclass(frozen=True)
class Honest:
    """An outcome that is not silently wrong.

    Args:
        kind: "exact" (equal to the plain loop), "refused" (an error before training that names
            the thing) or "warned" (other numbers, with a warning that names the thing).
        match: what error or warning must say, as a regular expression.
    """

    kind: str
    match: str = ""


EXACT = Honest("exact")


def refused(match: str) -> Honest:
    """Accept a ``RequestError`` or ``DriverError`` before training."""
    return Honest("refused", match)


def warned(match: str) -> Honest:
    """Accept other numbers if a warning of the result names the cause."""
    return Honest("warned", match)


@dataclass(frozen=True)
class Setup:
    """One training set-up.

    Args:
        pins: what goes wrong where it is not held.
        recipe: ``() -> Recipe``.
        stacks: whether lock step must take it; else it may refuse by ``DriverError``.
        accepts: the honest outcomes with the drivers "auto" and "loop".
        closure: whether the plain loop hands a closure to the optimizer, as LBFGS needs it;
            "after" calls it once before, so that gradients are there.
        scheduler: ``(recipe, optimizer) -> scheduler`` that the plain loop steps.
        single: relative tolerance in float32.
        double: relative tolerance in float64.
        dtypes: the types in which it is compared.
        heavy: whether recording it takes seconds: in lock step it is then tested with "slow" only.
        companions: whether a perturbed replica is compared too, not only the reference.
    """

    pins: str
    recipe: Callable[[], Recipe]
    stacks: bool = False
    accepts: tuple[Honest, ...] = (EXACT,)
    closure: bool | str = False
    scheduler: Callable[[Recipe, optim.Optimizer], Any] | None = None
    single: float = 1e-6
    double: float = 1e-12
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.float64)
    heavy: bool = False
    companions: bool = True


STEPS = 16
"""Five epochs of three batches and one step: phases that begin at step 10 have room to show."""


def _points(count: int, width: int, seed: int = 11) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


COUNT = 23
"""Samples: batches of 8 leave 7 for the last of an epoch."""
POINTS = _points(COUNT, 4)
CURVE = torch.sin(2 * POINTS[:, :1]) + POINTS[:, 1:2] * POINTS[:, 2:3]
CLASSES = (POINTS[:, 0] > 0).long() + (POINTS[:, 1] > 0).long()
IMAGES = _points(COUNT, 2 * 49).reshape(COUNT, 2, 7, 7)
SERIES = _points(COUNT, 5 * 3).reshape(COUNT, 5, 3)
TOKENS = (_points(COUNT, 6).abs() * 4).long().clamp(max=8)
PARITY = TOKENS.sum(1) % 2
LENGTHS = 1 + (_points(COUNT, 1, 5)[:, 0].abs() * 2).long().clamp(max=4)
"""Valid positions of each series, 1 to 5."""
MASK = _points(COUNT, 1, 7)[:, 0] > 0.2
"""About half of the samples: another number of them in each batch."""


def squared(model: nn.Module, batch: Any) -> Tensor:
    """Mean squared error."""
    return F.mse_loss(model(batch[0]), batch[1])


def entropy(model: nn.Module, batch: Any) -> Tensor:
    """Cross-entropy."""
    return F.cross_entropy(model(batch[0]), batch[1])


def dense(classes: int = 1, width: int = 4) -> nn.Module:
    """Build a small net: tanh is smooth, so that two roundings of it stay close."""
    return nn.Sequential(
        nn.Linear(width, 10), nn.Tanh(), nn.Linear(10, 7), nn.Tanh(), nn.Linear(7, classes)
    )


def momentum(params: Any) -> optim.Optimizer:
    """SGD with momentum at a calm rate: it amplifies no rounding within 16 steps.

    Adam would: its first step divides a gradient by its own size, so that a gradient which is
    zero up to rounding (a bias in front of batch normalisation) moves by a whole learning rate.
    """
    return optim.SGD(params, lr=0.02, momentum=0.9)


def recipe(**changes: Any) -> Recipe:
    """Return the base recipe (a dense net on a curve) with changes."""
    base = {
        "model": dense,
        "loss": squared,
        "data": (POINTS, CURVE),
        "optimizer": momentum,
        "batch_size": 8,
        "steps": STEPS,
    }
    return {**base, **changes}


def classify(**changes: Any) -> Recipe:
    """Return the base recipe of a classification with changes."""
    changes.setdefault("model", lambda: dense(3))
    return recipe(**{"loss": entropy, "data": (POINTS, CLASSES), **changes})


def of(pins: str, make: Callable[..., Recipe] = recipe, /, **changes: Any) -> Setup:
    """Return a set-up that keeps no state: the same values serve every training."""
    own = {k: changes.pop(k) for k in tuple(changes) if k in Setup.__dataclass_fields__}
    return Setup(pins, lambda: make(**changes), **own)


@dataclass
class Counter:
    """State that user code keeps between calls."""

    calls: int = 0
    seen: dict[str, Any] = field(default_factory=dict)
