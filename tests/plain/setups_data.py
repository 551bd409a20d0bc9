"""Set-ups by kind of data, mode, seed and schedule."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from plain_setup import (
    CLASSES,
    CURVE,
    EXACT,
    POINTS,
    Counter,
    Setup,
    dense,
    momentum,
    of,
    recipe,
    refused,
    warned,
)
from torch import Tensor, nn, optim
from torch.utils.data import Dataset, TensorDataset

STACKS = {"stacks": True}


class Rows(Dataset[Any]):
    """A map-style data set of pairs."""

    def __len__(self) -> int:
        return len(POINTS)

    def __getitem__(self, index: int) -> Any:
        return POINTS[index], CURVE[index]


class Jittered(Rows):
    """Draws from torch's, NumPy's and Python's generators for each sample."""

    def __getitem__(self, index: int) -> Any:
        x, y = super().__getitem__(index)
        shift = random.random() + float(np.random.rand())  # noqa: NPY002
        return x + 0.1 * torch.randn(4) + 0.1 * shift, y


class Named(Rows):
    """Has a string in each sample."""

    def __getitem__(self, index: int) -> Any:
        x, y = super().__getitem__(index)
        return {"x": x, "y": y, "name": f"sample {index}"}


class Typed(Rows):
    """Samples of NumPy arrays and Python numbers."""

    def __getitem__(self, index: int) -> Any:
        return POINTS[index].numpy(), float(CURVE[index, 0]), int(CLASSES[index])


class Curriculum(Rows):
    """Counts its calls and grows harder with them: other content each time it is asked."""

    def __init__(self) -> None:
        self.state = Counter()

    def __getitem__(self, index: int) -> Any:
        self.state.calls += 1
        x, y = super().__getitem__(index)
        return x * min(1.0, 0.2 + self.state.calls / 100), y


def named(model: nn.Module, batch: Any) -> Tensor:
    """Read a batch with strings in it."""
    weight = torch.tensor([1.0 + (name[-1] in "02468") for name in batch["name"]])
    return ((model(batch["x"]) - batch["y"]).square()[:, 0] * weight.to(batch["x"])).mean()


def typed(model: nn.Module, batch: Any) -> Tensor:
    """Read a batch of arrays and numbers."""
    return F.mse_loss(model(batch[0])[:, 0], batch[1].to(batch[0])) + 0.0 * batch[2].sum()


def nested(model: nn.Module, batch: Any) -> Tensor:
    """Read a dict within a dict."""
    return F.mse_loss(model(batch["x"]), batch["inner"]["y"])


def sparse(model: nn.Module, batch: Any) -> Tensor:
    """Multiply a sparse batch."""
    return F.mse_loss(model(batch[0].to_dense()), batch[1])


def shifted(batch: Any, draws: Any) -> Any:
    """Move each input by a number of its own."""
    return (batch[0] + 0.1 * draws(4).to(batch[0]), *batch[1:])


def dropping() -> nn.Module:
    """Build a net with much dropout."""
    return nn.Sequential(nn.Linear(4, 10), nn.Tanh(), nn.Dropout(0.4), nn.Linear(10, 1))


def pretrained() -> nn.Module:
    """Build a net in eval mode, as ``from_pretrained`` returns it."""
    return dropping().eval()


class Partly(nn.Module):
    """Keeps its normalisation in eval mode on purpose, as detection scripts do."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.net = nn.BatchNorm1d(4), dropping()
        self.norm.eval()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(self.norm(x))
        return out


MODULE = dense()


def copied() -> dict[str, Any]:
    """Return a recipe that hands out one module of its own."""
    torch.manual_seed(3)
    own = dense()
    return recipe(model=lambda: own)


def seeded() -> nn.Module:
    """Seed itself: whatever base seed is asked for, the weights are the same."""
    torch.manual_seed(42)
    return dense()


def warming(step: int) -> float:
    """Return the factor of a warm-up and a decay; 0 in the first step."""
    return min(step / 5, 1.0) * 0.97**step


def factor(made: dict[str, Any], optimizer: optim.Optimizer) -> Any:
    """Return the scheduler of the plain loop for a schedule of factors."""
    return optim.lr_scheduler.LambdaLR(optimizer, made["schedule"])


def cosine(optimizer: optim.Optimizer) -> Any:
    """Build torch's own scheduler."""
    return optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=12, eta_min=1e-3)


def one_cycle(optimizer: optim.Optimizer) -> Any:
    """Build a scheduler that moves momentum as well as the rate."""
    return optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.05, total_steps=20)


def from_factory(made: dict[str, Any], optimizer: optim.Optimizer) -> Any:
    """Return the scheduler of the plain loop for a factory of schedulers."""
    return made["schedule"](optimizer)


def scheduled_inside() -> dict[str, Any]:
    """Return a recipe whose optimizer factory builds the scheduler: who steps it?"""
    kept: dict[str, Any] = {}

    def factory(params: Any) -> optim.Optimizer:
        optimizer = momentum(params)
        kept["scheduler"] = optim.lr_scheduler.LambdaLR(optimizer, warming)
        return optimizer

    return {**recipe(optimizer=factory), "kept": kept}


REFUSED_LIST = (refused("tuple|list"),)
SETUPS = {
    "tuple": of("a tuple of tensors, the last batch of an epoch smaller", **STACKS),
    "dict": of(
        "a dict within a dict", data={"x": POINTS, "inner": {"y": CURVE}}, loss=nested, **STACKS
    ),
    "data set": of("a map-style data set", data=Rows(), **STACKS),
    "tensor data set": of("torch's TensorDataset", data=TensorDataset(POINTS, CURVE), **STACKS),
    "random data set": of("samples draw from three generators", data=Jittered(), **STACKS),
    "typed data set": of("arrays and numbers in samples", data=Typed(), loss=typed),
    "counting data set": Setup(
        "content that depends on how often it was asked for",
        lambda: recipe(data=Curriculum()),
        accepts=(EXACT, refused("data"), warned("data")),
    ),
    "strings": of("string fields in samples", data=Named(), loss=named),
    "list of tensors": of(
        "data=[x, y] is not a data set of two samples", data=[POINTS, CURVE], accepts=REFUSED_LIST
    ),
    "sparse": of(
        "sparse inputs",
        data=(POINTS.to_sparse(), CURVE),
        loss=sparse,
        accepts=(EXACT, refused("sparse")),
    ),
    "drop last": of("an incomplete batch is left out", drop_last=True, **STACKS),
    "replacement": of("samples drawn with replacement", sampling="replacement", **STACKS),
    "sequential": of("samples in order", sampling="sequential", **STACKS),
    "whole batch": of("all samples at once", batch_size=23, **STACKS),
    "augmented": of("augmentation by wingbeat's draws", augment=shifted, **STACKS),
    "seed 7": of("another base seed", seed=7, model=dropping, **STACKS),
    "pretrained": of("a factory that returns eval mode: trained in train mode", model=pretrained),
    "as built": of("mode='as built': dropout stays off", model=pretrained, mode="as built"),
    "partly eval": of("mode='as built': a norm stays in eval mode", model=Partly, mode="as built"),
    "partly train": of("by default every module trains", model=Partly),
    "shared module": of(
        "one module is handed out again and again", model=lambda: copy.deepcopy(MODULE)
    ),
    "shared module itself": Setup("the user's own module is not trained", copied),
    "self-seeded": of(
        "a factory that seeds itself", model=seeded, accepts=(EXACT, refused("seed"))
    ),
    "warm-up": of("schedule= as factors", schedule=warming, scheduler=factor, **STACKS),
    "cosine factory": of(
        "schedule= as a factory of torch schedulers", schedule=cosine, scheduler=from_factory
    ),
    "one cycle": of(
        "a scheduler that moves momentum too",
        schedule=one_cycle,
        scheduler=from_factory,
        accepts=(EXACT, refused("momentum")),
    ),
    "scheduler inside": Setup(
        "a scheduler built inside the optimizer factory",
        lambda: {k: v for k, v in scheduled_inside().items() if k != "kept"},
        accepts=(refused("schedul"),),
    ),
}
