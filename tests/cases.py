"""One table of training problems and one of optimizers; tests run over both.

The nets are tiny and the learning rates calm: a chaotic run amplifies any two roundings, so
that two correct executions of it part. Sizes are odd on purpose (hidden 10, batch 25): vector
lanes then leave a scalar tail, where a kernel may round differently.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim

from wingbeat.determinism import derive
from wingbeat.task.batches import Batches, Streams
from wingbeat.task.task import Task

STEPS = 200


def _points(count: int, width: int) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(11))


POINTS = _points(60, 4)
CURVE = torch.sin(2 * POINTS[:, :1]) + POINTS[:, 1:2] * POINTS[:, 2:3]
CLASSES = (POINTS[:, 0] > 0).long() + (POINTS[:, 1] > 0).long()
IMAGES = _points(60, 64).reshape(60, 1, 8, 8)
TOKENS = (_points(60, 6).abs() * 4).long().clamp(max=8)
PARITY = TOKENS.sum(1) % 2


def squared(model: nn.Module, batch: Any) -> Tensor:
    """Mean squared error."""
    return F.mse_loss(model(batch[0]), batch[1])


def entropy(model: nn.Module, batch: Any) -> Tensor:
    """Cross-entropy."""
    return F.cross_entropy(model(batch[0]), batch[1])


def jitter(batch: Any, draws: Callable[[int], Tensor]) -> Any:
    """Move each input by uniform noise of its own."""
    x, *rest = batch
    noise = draws(x[0].numel()).reshape(x.shape).to(x.dtype)
    return (x + 0.1 * (noise - 0.5), *rest)


def dense(activation: Callable[[], nn.Module] = nn.Tanh, dropout: float = 0.0) -> nn.Module:
    """Build a 4-10-7-1 net."""
    layers = [nn.Linear(4, 10), activation(), nn.Dropout(dropout), nn.Linear(10, 7)]
    return nn.Sequential(*layers, activation(), nn.Linear(7, 1))


class Convolutional(nn.Module):
    """Two convolutions with batch normalisation; no bias in front of it (its gradient is 0)."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 3, 3, bias=False),
            nn.BatchNorm2d(3),
            nn.SiLU(),
            nn.Conv2d(3, 5, 3, stride=2, bias=False),
            nn.BatchNorm2d(5, momentum=0.2),
            nn.SiLU(),
            nn.Flatten(),
            nn.Dropout(dropout),
        )
        self.head = nn.Linear(20, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.features(x))
        return out


class Attentive(nn.Module):
    """Embedding, one encoder layer of torch, mean over positions."""

    def __init__(self, dropout: float = 0.0, embed: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 6) if embed else nn.Linear(4, 6)
        # A key bias has gradient 0 up to rounding, which Adam would blow up to a step.
        self.layer = nn.TransformerEncoderLayer(
            6, 2, 10, dropout, F.gelu, batch_first=True, bias=False
        )
        self.head = nn.Linear(6, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.head(self.layer(self.embed(tokens)).mean(1))
        return out


class Tied(nn.Module):
    """Encoder and decoder share one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(4, 4, bias=False)
        self.leave = nn.Linear(4, 4)
        self.leave.weight = self.enter.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(torch.tanh(self.enter(x))).sum(1, keepdim=True)


def frozen() -> nn.Module:
    """Build a net whose first layer does not train."""
    model = dense()
    for parameter in model[0].parameters():  # type: ignore[index]
        parameter.requires_grad_(False)
    return model


def one_bias() -> nn.Module:
    """Build a 2-64-32-1 net: 2,305 parameters, one of them a bias of one element."""
    layers = [nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)]
    return nn.Sequential(*layers)


class Unused(nn.Module):
    """Has a layer that the loss does not depend on."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.idle = nn.Linear(4, 1), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.used(x)
        return out


def by_axes(params: Any, kind: type[optim.Optimizer] = optim.SGD, **options: Any) -> Any:
    """Put vectors in a group of their own, with half the learning rate and no decay."""
    params = list(params)
    matrices = [p for p in params if p.dim() > 1]
    vectors = [p for p in params if p.dim() < 2]
    lr = options.pop("lr", 0.02)
    groups = [
        {"params": vectors, "lr": lr / 2, "weight_decay": 0.0},
        {"params": matrices, "lr": lr, "weight_decay": 0.01},
    ]
    return kind(groups, **options)


OPTIMIZERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "sgd": partial(optim.SGD, lr=0.02),
    "momentum": partial(optim.SGD, lr=0.005, momentum=0.9, weight_decay=1e-3),
    "nesterov": partial(optim.SGD, lr=0.005, momentum=0.8, nesterov=True),
    "adam": partial(optim.Adam, lr=5e-4),
    "adamw": partial(optim.AdamW, lr=5e-4, weight_decay=0.05),
    "rmsprop": partial(optim.RMSprop, lr=3e-4),
    "adagrad": partial(optim.Adagrad, lr=5e-3),
    "nadam": partial(optim.NAdam, lr=5e-4),
    "radam": partial(optim.RAdam, lr=5e-4),
    "groups": by_axes,
}
"""Every supported rule, by name."""

_CURVE = Task(
    model=dense,
    loss=squared,
    data=(POINTS, CURVE),
    optimizer=OPTIMIZERS["momentum"],
    batch_size=25,
    steps=STEPS,
)
_IMAGES = replace(_CURVE, model=Convolutional, loss=entropy, data=(IMAGES, CLASSES))
_TOKENS = replace(_CURVE, model=Attentive, loss=entropy, data=(TOKENS, PARITY))

PROBLEMS: dict[str, Task] = {
    "mlp": _CURVE,
    "cnn": _IMAGES,
    "transformer": _TOKENS,
    "mlp-noisy": replace(_CURVE, model=partial(dense, nn.GELU, 0.2), augment=jitter),
    "cnn-noisy": replace(_IMAGES, model=partial(Convolutional, 0.2), augment=jitter),
    "transformer-noisy": replace(
        _TOKENS,
        model=partial(Attentive, 0.1, embed=False),
        data=(_points(360, 4).reshape(60, 6, 4), PARITY),
        augment=jitter,
    ),
    "mlp-sigmoid": replace(_CURVE, model=partial(dense, nn.Sigmoid)),
    "mlp-silu": replace(_CURVE, model=partial(dense, nn.SiLU)),
    "tied": replace(_CURVE, model=Tied),
    "frozen": replace(_CURVE, model=frozen),
    "one-bias": replace(_CURVE, model=one_bias, data=(POINTS[:, :2], CURVE)),
    "unused": replace(_CURVE, model=Unused, optimizer=OPTIMIZERS["sgd"]),
    "groups": replace(_CURVE, optimizer=partial(by_axes, momentum=0.9, lr=0.005)),
    "clipped": replace(_CURVE, clip_norm=0.3, schedule=lambda step: 1 / (1 + 0.05 * step)),
    "dict": replace(
        _CURVE,
        data={"x": POINTS, "inner": {"y": CURVE}},
        loss=lambda model, batch: F.mse_loss(model(batch["x"]), batch["inner"]["y"]),
    ),
}
"""Every kind of task, by name."""

NOISY = ("mlp-noisy", "cnn-noisy", "transformer-noisy")
ARCHITECTURES = ("mlp", "cnn", "transformer")


def task(problem: str, optimizer: Any = None, **changes: Any) -> Task:
    """Return a problem of the table, with another optimizer (or its name) and other fields."""
    if optimizer is not None:
        changes["optimizer"] = OPTIMIZERS[optimizer] if isinstance(optimizer, str) else optimizer
    return replace(PROBLEMS[problem], **changes)


def line_task() -> Task:
    """Return a line through points, which anything can train."""
    x = torch.linspace(-1, 1, 32).unsqueeze(1)
    return Task(
        model=lambda: nn.Linear(1, 1),
        loss=lambda model, batch: ((model(batch[0]) - batch[1]) ** 2).mean(),
        data=(x, 2 * x),
        optimizer=lambda params: optim.SGD(params, lr=0.1),
        batch_size=16,
        steps=8,
    )


def by_hand(task: Task) -> list[Tensor]:
    """Train the reference by hand; the batches are the task's, all else is torch's."""
    torch.manual_seed(task.seed)
    model = task.model().double()
    optimizer = task.optimizer(model.parameters())
    batches = Batches(task, torch.float64, torch.device("cpu"))
    streams = Streams.of(task.seed)
    for t in range(task.steps):
        torch.manual_seed(derive(streams.dropout, t))
        optimizer.zero_grad()
        task.loss(model, batches.batch(streams, t)).backward()
        optimizer.step()
    return [p.detach() for p in model.parameters()]


def needs(*names: str) -> Any:
    """Skip a test where a package is missing."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed")
