"""How the spawn-and-perturb experiments train: schedule, optimizer, augmentation, interventions.

Source:
    arXiv 2506.13234 and the authors' released code: SGD with learning rate 0.1, momentum 0.9
    and weight decay 1e-4, batches of 128, 20,000 steps, a triangle schedule that rises over the
    first 2 % of training, flips and rotations of up to 10 degrees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wingbeat.errors import RequestError, nearest

FULL_STEPS: Final = 20_000
"""Steps of the paper's main setting, a budget of 1."""


@dataclass(frozen=True)
class Triangle:
    """A learning-rate factor that rises from 0 to 1 and falls back to 0, both linearly.

    The first update has factor 0: the weights before and after it are equal.

    Args:
        steps: of the whole run.
        warmup: share of them in which it rises, from 0 (not included) to below 1.

    Example:
        >>> factor = Triangle(100, 0.2)
        >>> [factor(t) for t in (0, 10, 20, 60)]
        [0.0, 0.5, 1.0, 0.5]
    """

    steps: int
    warmup: float

    def __call__(self, step: int) -> float:
        """Return the factor of one step."""
        top = max(1, round(self.warmup * self.steps))
        return step / top if step < top else (self.steps - step) / (self.steps - top)


@dataclass(frozen=True)
class Recipe:
    """How to train, in proportions of the paper's setting.

    Args:
        budget: share of the paper's 20,000 steps.
        batch_size: samples a step.
        warmup: share of training in which the learning rate rises.
        optimizer: "sgd" (momentum 0.9) or "adamw".
        lr: learning rate at the top of the triangle.
        weight_decay: of the optimizer.
        augment: flip and rotate the training images.

    Raises:
        RequestError: a value out of range.

    Example:
        >>> Recipe(budget=0.05).steps
        1000
    """

    budget: float = 0.05
    batch_size: int = 128
    warmup: float = 0.02
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.1
    weight_decay: float = 1e-4
    augment: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.budget) and self.steps >= 2):
            raise RequestError(f"budget is {self.budget!r}: use at least {2 / FULL_STEPS:g}")
        if not 0 < self.warmup < 1:
            raise RequestError(f"warmup is {self.warmup!r}: use a share above 0 and below 1")
        if self.optimizer not in ("sgd", "adamw"):
            known = ("sgd", "adamw")
            raise RequestError(f"optimizer is {self.optimizer!r}: {nearest(self.optimizer, known)}")

    @property
    def steps(self) -> int:
        """Optimizer updates in all."""
        return round(FULL_STEPS * self.budget)

    @property
    def schedule(self) -> Triangle:
        """The learning-rate factor of each step."""
        return Triangle(self.steps, self.warmup)

    def built(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer of a model's parameters."""
        if self.optimizer == "adamw":
            return torch.optim.AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay)
        return torch.optim.SGD(parameters, lr=self.lr, momentum=0.9, weight_decay=self.weight_decay)


INTERVENTIONS: Final[dict[str, dict[str, Any]]] = {
    "standard": {},
    "long warm-up": {"warmup": 0.2},
    "wide and shallow": {"depth": 8, "widen": 2},
    "larger batch": {"batches": 4, "steps": 0.75},
    "AdamW": {"optimizer": "adamw", "lr": 0.003},
    "no weight decay": {"weight_decay": 0.0},
}
"""What each preset changes, and nothing else: fields of ``Recipe``, ``depth`` of the net,
``widen`` (a factor of its width), ``steps`` (a factor of its length) and ``batches`` (a factor of
the batch, 512 samples where the usual one has 128). The paper's groups warmup-10x,
arch-wideshallow, bs-512, opt-adamw and no-decay; its first two also leave weight decay out, ours
do not, so that one thing changes at a time."""


def intervened(recipe: Recipe, name: str) -> tuple[Recipe, dict[str, Any]]:
    """Return the recipe under an intervention, and what it changes of the net.

    Raises:
        RequestError: an unknown name.

    Example:
        >>> recipe, net = intervened(Recipe(), "wide and shallow")
        >>> recipe == Recipe(), net
        (True, {'depth': 8, 'widen': 2})
    """
    if name not in INTERVENTIONS:
        raise RequestError(f"unknown intervention {name!r}: {nearest(name, INTERVENTIONS)}")
    changes = dict(INTERVENTIONS[name])
    recipe = replace(
        recipe,
        budget=recipe.budget * changes.pop("steps", 1.0),
        batch_size=recipe.batch_size * changes.pop("batches", 1),
    )
    net = {str(key): changes.pop(key) for key in ("depth", "widen") if key in changes}
    return replace(recipe, **changes), net


def flip_and_rotate(batch: tuple[Tensor, Tensor], draws: Callable[[int], Tensor]) -> Any:
    """Mirror half of the images and rotate each by up to 10 degrees either way.

    Args:
        batch: images ``(batch, channels, side, side)`` and labels.
        draws: ``k -> (batch, k)`` uniform numbers, a function of seed, epoch and sample.

    Example:
        >>> images = torch.randn(2, 3, 8, 8)
        >>> same, _ = flip_and_rotate((images, None), lambda k: torch.full((2, k), 0.5))
        >>> torch.allclose(same, images, atol=1e-5)
        True
    """
    images, labels = batch
    mirror, turn = draws(2).to(images.dtype).unbind(1)
    angle = (2 * turn - 1) * math.radians(10)
    sign = torch.where(mirror < 0.5, -1.0, 1.0).to(images.dtype)
    cosine, sine, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    rows = torch.stack([sign * cosine, -sine, zero, sign * sine, cosine, zero], dim=1)
    grid = F.affine_grid(rows.view(-1, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False), labels
