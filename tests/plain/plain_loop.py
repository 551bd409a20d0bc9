"""The reference of every test here: a training loop as people write it, by hand.

Nothing of it is wingbeat's but two public definitions: which samples batch ``t`` holds, and the
seed of the noise of step ``t`` (docs/exactness.md, "Coupled randomness").
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from plain_setup import Recipe, Setup
from torch import Tensor, nn, optim
from torch.utils import _pytree as pytree

import wingbeat as wb
from wingbeat.determinism import derive
from wingbeat.task.batches import Batches, Streams

OF_THE_TASK = ("data", "batch_size", "steps", "drop_last", "sampling", "augment")


@dataclass
class Plain:
    """What an ordinary loop leaves behind: tensors after each step, and the losses."""

    tensors: list[dict[str, Tensor]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


def train(setup: Setup, dtype: torch.dtype, start: Mapping[str, Tensor] | None = None) -> Plain:
    """Train a set-up; with ``start``, these weights replace the initial ones (a fork at step 0)."""
    made = setup.recipe()
    seed = made.get("seed", 0)
    seed_all(seed)
    model = cast(made["model"](), dtype)
    if made.get("mode", "train") == "train":
        model.train()
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = made["optimizer"](params)
    scheduler = setup.scheduler(made, optimizer) if setup.scheduler else None
    overwrite(model, start or {})
    found = Plain([tensors(model)])
    for t, batch in enumerate(batches(made, dtype, seed)):
        found.losses.append(step(setup, made, model, optimizer, batch, noise(seed, t)))
        if scheduler is not None:
            scheduler.step()
        found.tensors.append(tensors(model))
    return found


def step(
    setup: Setup,
    made: Recipe,
    model: nn.Module,
    optimizer: optim.Optimizer,
    batch: Any,
    seed: int,
) -> float:
    """Make one update and return the loss before it."""
    seen = []

    def closure() -> Tensor:
        seed_all(seed)  # an optimizer that evaluates twice sees one noise
        optimizer.zero_grad()
        loss = made["loss"](model, batch)
        loss.backward()
        if made.get("clip_norm") is not None:
            nn.utils.clip_grad_norm_(model.parameters(), made["clip_norm"])
        seen.append(float(loss.detach()))
        return loss

    if setup.closure != True:  # noqa: E712  ("after" is neither)
        closure()
    optimizer.step(*([closure] if setup.closure else []))
    return seen[0]


def batches(made: Recipe, dtype: torch.dtype, seed: int) -> list[Any]:
    """Return the batch of each step, from wingbeat's definition of what it holds."""
    own = {k: v for k, v in made.items() if k in OF_THE_TASK}
    task = wb.Task(model=nn.Identity, loss=max, optimizer=optim.SGD, **own)
    source, streams = Batches(task, dtype, torch.device("cpu")), Streams.of(seed)
    return [pytree.tree_map(_own, source.batch(streams, t)) for t in range(made["steps"])]


def _own(leaf: Any) -> Any:
    return leaf.clone() if isinstance(leaf, Tensor) else leaf


def noise(seed: int, t: int) -> int:
    """Return the seed of the noise of step ``t``."""
    return derive(Streams.of(seed).dropout, t)


def seed_all(seed: int) -> None:
    """Seed the three generators that user code may draw from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)  # torch.manual_seed also asks for four accelerators


def cast(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Give a model another precision; complex numbers stay complex, unlike in ``model.to``."""

    def one(t: Tensor) -> Tensor:
        if t.is_complex():
            return t.to(dtype.to_complex())
        return t.to(dtype) if t.is_floating_point() else t

    return model._apply(one)


def overwrite(model: nn.Module, start: Mapping[str, Tensor]) -> None:
    """Replace weights in place, as a script that loads a state dict does."""
    named = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in start.items():
            named[name].copy_(value)


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of all parameters and buffers by name."""
    named: dict[str, Callable[[], Tensor]] = dict(model.named_parameters())
    return {k: t.detach().clone() for k, t in {**named, **dict(model.named_buffers())}.items()}
