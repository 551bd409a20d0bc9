"""Trainings as people write them, each once: `wb.Twins` and a bare loop run the same code.

A loop is ``train(parts, batches, step)``: it draws from ``batches()`` and calls ``step(loss)``
after each update. ``by_hand`` gives it batches without wingbeat.
"""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from wingbeat.determinism import derive

STEPS = 24


@dataclass(frozen=True)
class Loop:
    """How it is built, what it draws from, how it trains."""

    build: Callable[[int], Any]
    loader: Callable[[], Any] | None
    train: Callable[[dict[str, Any], Callable[[], Any], Callable[[Any], None]], None]


def _data() -> TensorDataset:
    g = torch.Generator().manual_seed(3)
    x = torch.randn(60, 6, generator=g)
    return TensorDataset(x, (x.sum(1) > 0).long())


def _net(dropout: float = 0.2) -> nn.Module:
    layers = nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 2)
    return nn.Sequential(*layers)


# --- a plain classifier with a schedule and clipped gradients
def _plain(seed: int) -> dict[str, Any]:
    model = _net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    return {
        "model": model,
        "optimizer": optimizer,
        "schedule": torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=STEPS + 1),
    }


def _train_plain(parts: dict[str, Any], batches: Any, step: Any) -> None:
    model, optimizer = parts["model"], parts["optimizer"]
    for x, y in batches():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        parts["schedule"].step()
        step(loss)


# --- autocast, a scaler, accumulation over three batches, a moving average of the weights
def _modern(seed: int) -> dict[str, Any]:
    model = _net()
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        "scaler": torch.amp.GradScaler("cpu", init_scale=256.0),
        "average": torch.optim.swa_utils.AveragedModel(
            model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
        ),
    }


def _train_modern(parts: dict[str, Any], batches: Any, step: Any) -> None:
    model, optimizer, scaler = parts["model"], parts["optimizer"], parts["scaler"]
    for number, (x, y) in enumerate(batches(), 1):
        with torch.autocast("cpu", torch.bfloat16):
            loss = nn.functional.cross_entropy(model(x + 0.1 * torch.randn_like(x)), y)
        scaler.scale(loss / 3).backward()
        if number % 3 == 0:
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            parts["average"].update_parameters(model)
            step(loss)


# --- half precision: a scale that grows until it overflows, and a schedule that waits then
def _half(seed: int) -> dict[str, Any]:
    model = _net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    return {
        "model": model,
        "optimizer": optimizer,
        "scaler": torch.amp.GradScaler("cpu", init_scale=2.0**18, growth_interval=3),
        "schedule": torch.optim.lr_scheduler.StepLR(optimizer, 4, 0.8),
    }


def _train_half(parts: dict[str, Any], batches: Any, step: Any) -> None:
    model, optimizer, scaler, schedule = parts.values()
    for x, y in batches():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.float16):
            loss = nn.functional.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        before = scaler.get_scale()
        scaler.update()
        if scaler.get_scale() >= before:
            schedule.step()
        step(loss)


# --- a generative adversarial net: two models, two optimizers
def _gan(seed: int) -> dict[str, Any]:
    model, critic = nn.Linear(4, 6), nn.Sequential(nn.Linear(6, 8), nn.LeakyReLU(), nn.Linear(8, 1))
    return {
        "model": model,
        "critic": critic,
        "g": torch.optim.Adam(model.parameters(), lr=1e-2, betas=(0.5, 0.9)),
        "d": torch.optim.Adam(critic.parameters(), lr=1e-2, betas=(0.5, 0.9)),
    }


def _train_gan(parts: dict[str, Any], batches: Any, step: Any) -> None:
    softplus = nn.functional.softplus
    for real, _ in batches():
        fake = parts["model"](torch.randn(len(real), 4))
        parts["d"].zero_grad()
        critic_loss = (
            softplus(-parts["critic"](real)) + softplus(parts["critic"](fake.detach()))
        ).mean()
        critic_loss.backward()
        parts["d"].step()
        parts["g"].zero_grad()
        loss = softplus(-parts["critic"](fake)).mean()
        loss.backward()
        parts["g"].step()
        step(loss)


# --- REINFORCE on an environment that draws from NumPy
def _policy(seed: int) -> dict[str, Any]:
    model = nn.Linear(2, 2)
    return {"model": model, "optimizer": torch.optim.RMSprop(model.parameters(), lr=1e-2)}


def _train_policy(parts: dict[str, Any], batches: Any, step: Any) -> None:
    for _ in batches():
        state, total, logs = np.random.randn(2), 0.0, []  # noqa: NPY002
        for _ in range(5):
            choice = torch.distributions.Categorical(
                logits=parts["model"](torch.tensor(state, dtype=torch.float32))
            )
            action = choice.sample()
            logs.append(choice.log_prob(action))
            state = 0.9 * state + np.random.randn(2) * 0.1 + (int(action) - 0.5)  # noqa: NPY002
            total += -float(state @ state)
        loss = -total * torch.stack(logs).sum()
        parts["optimizer"].zero_grad()
        loss.backward()
        parts["optimizer"].step()
        step(loss)


# --- a stream without length, that draws from Python's generator
class Stream(IterableDataset):  # type: ignore[type-arg]
    """Samples without end."""

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        while True:
            x = torch.tensor([random.gauss(0.0, 1.0) for _ in range(6)])
            yield x, (x.sum() > 0).long()


# --- SAM: two gradients a step, in a hand-written closure
def _sam(seed: int) -> dict[str, Any]:
    model = _net(0.0)
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)}


def _train_sam(parts: dict[str, Any], batches: Any, step: Any) -> None:
    model, optimizer = parts["model"], parts["optimizer"]
    for x, y in batches():
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        with torch.no_grad():
            norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
            moves = [0.05 * p.grad / norm for p in model.parameters()]
            for p, e in zip(model.parameters(), moves, strict=True):
                p.add_(e)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        with torch.no_grad():
            for p, e in zip(model.parameters(), moves, strict=True):
                p.sub_(e)
        optimizer.step()
        step(loss)


def _shuffled(**options: Any) -> Any:
    return DataLoader(_data(), batch_size=8, shuffle=True, **options)


def _with_generator() -> Any:
    return _shuffled(generator=torch.Generator())


LOOPS = {
    "classifier": Loop(_plain, _shuffled, _train_plain),
    "own generator": Loop(_plain, _with_generator, _train_plain),
    "workers": Loop(
        _plain, lambda: DataLoader(_data(), 8, shuffle=True, num_workers=2), _train_plain
    ),
    "autocast, scaler, average": Loop(_modern, _shuffled, _train_modern),
    "half that overflows": Loop(_half, _shuffled, _train_half),
    "gan": Loop(_gan, _shuffled, _train_gan),
    "reinforce": Loop(_policy, None, _train_policy),
    "stream": Loop(_plain, lambda: DataLoader(Stream(), batch_size=8), _train_plain),
    "sam": Loop(_sam, _shuffled, _train_sam),
    "list of batches": Loop(_plain, lambda: list(_shuffled()), _train_plain),
}


class Stop(Exception):
    """All steps are made."""


def by_hand(loop: Loop, seed: int, steps: int = STEPS) -> tuple[dict[str, Any], list[float]]:
    """Train without wingbeat, under the noise that its documentation promises."""
    torch.manual_seed(1)  # lists of batches are drawn when they are made
    loader = loop.loader() if loop.loader else None
    _seed(seed)
    parts, losses = loop.build(seed), []

    def step(loss: torch.Tensor) -> None:
        losses.append(loss.item())
        if len(losses) == steps:
            raise Stop

    with contextlib.suppress(Stop):
        loop.train(parts, lambda: _drawn(loader, seed), step)
    return parts, losses


def _drawn(loader: Any, seed: int) -> Iterator[Any]:
    """Yield batches without end, every generator seeded by hand."""
    order, augmentation, dropout = (
        derive(seed, name) for name in ("order", "augmentation", "dropout")
    )
    for place in itertools.count() if loader is None else ():
        _seed(derive(dropout, "step", place))
        yield place
    place = 0
    for number in itertools.count():
        passing = derive(order, "pass", number)
        _seed(passing)
        if getattr(loader, "generator", None) is not None:
            loader.generator.manual_seed(passing)
        elif hasattr(getattr(loader, "sampler", None), "generator"):
            loader.sampler.generator = torch.Generator().manual_seed(passing)
        source = iter(loader)
        while True:
            _seed(derive(augmentation, "fetch", place))
            try:
                batch = next(source)
            except StopIteration:
                break
            _seed(derive(dropout, "step", place))
            place += 1
            yield batch


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)


def train(twins: Any, loop: Loop) -> None:
    """Train all copies that are left."""
    torch.manual_seed(1)
    loader = loop.loader() if loop.loader else None
    for copy in twins:
        source = copy.updates if loader is None else lambda c=copy: c.batches(loader)
        loop.train(copy.parts, source, copy.step)
