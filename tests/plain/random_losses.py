"""Small random training set-ups whose losses decide in Python on what tensors hold.

A drawn set-up is plain data (a ``Plan``), so that a failing one can be printed and repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from plain_setup import CLASSES, CURVE, LENGTHS, POINTS, STEPS, Recipe, Setup
from torch import Tensor, nn, optim

Term = Callable[[Tensor, Any, float], Tensor]
"""``(predictions (batch, 1), batch, level) -> scalar``; ``level`` is drawn from [0, 1]."""


def threshold(values: Tensor, level: float) -> float:
    """Return a bound that a share ``level`` of all the samples' sums lies below."""
    return float(values.double().quantile(level))


_ORDER = torch.Generator().manual_seed(2)
SUMS = torch.stack([POINTS[torch.randperm(23, generator=_ORDER)[:8]].sum() for _ in range(200)])
"""Sums of random batches: what ``rare sum`` takes its bound from."""


def plain(out: Tensor, batch: Any, level: float) -> Tensor:
    return F.mse_loss(out, batch[1])


def masked(out: Tensor, batch: Any, level: float) -> Tensor:
    mask = batch[0][:, 1] > threshold(POINTS[:, 1], level)
    return (out[mask] - batch[1][mask]).square().sum() / 4


def cut(out: Tensor, batch: Any, level: float) -> Tensor:
    rows = len((batch[1] > threshold(CURVE, level)).nonzero())
    return (out[:rows] - batch[1][:rows]).square().sum() / 4


def lengths(out: Tensor, batch: Any, level: float) -> Tensor:
    weights = [n**level for n in batch[2].tolist()]
    return (out[:, 0] * torch.tensor(weights).to(out)).square().mean() / 10


def kinds(out: Tensor, batch: Any, level: float) -> Tensor:
    return (out - level).square().mean() / len(batch[3].unique())


def rare_sum(out: Tensor, batch: Any, level: float) -> Tensor:
    scale = 3.0 if batch[0].sum() > threshold(SUMS, 0.5 + level / 2) else 0.3
    return scale * F.mse_loss(out, batch[1])


def on_loss(out: Tensor, batch: Any, level: float) -> Tensor:
    loss = F.mse_loss(out, batch[1])
    return loss if loss > 0.5 + level else (loss + 0.1).sqrt()


def read(out: Tensor, batch: Any, level: float) -> Tensor:
    return out.square().mean() * (level + batch[1].abs().max().item())


def by_numpy(out: Tensor, batch: Any, level: float) -> Tensor:
    return out.square().mean() * float(batch[0].numpy().max() + level)


def one_row(out: Tensor, batch: Any, level: float) -> Tensor:
    row = int((batch[0][:, 0] - level).abs().argmin())
    return (out[row] - batch[1][row]).square().sum() / 2


def largest(out: Tensor, batch: Any, level: float) -> Tensor:
    count = 1 + int((batch[2] > 5 * level).sum()) // 2
    return (out - batch[1]).square().flatten().topk(count).values.mean() / 2


def short_batch(out: Tensor, batch: Any, level: float) -> Tensor:
    return F.mse_loss(out, batch[1]) * (1.0 if len(out) == 8 else 2 + level)


def all_of(out: Tensor, batch: Any, level: float) -> Tensor:
    fine = bool((batch[0] > threshold(POINTS, level / 20)).all())
    return out.abs().mean() if fine else F.huber_loss(out, batch[1])


def noisy(out: Tensor, batch: Any, level: float) -> Tensor:
    return (out * (1 + level * torch.rand(len(out), 1).to(out)) - batch[1]).square().mean()


def coin(out: Tensor, batch: Any, level: float) -> Tensor:
    return F.mse_loss(out, batch[1]) * (2.0 if torch.rand(1).item() < level / 2 else 0.5)


def chosen(out: Tensor, batch: Any, level: float) -> Tensor:
    return torch.where(batch[0][:, :1] > level, (out - batch[1]).square(), out.abs()).mean()


TERMS: dict[str, Term] = {
    "plain": plain,
    "masked": masked,
    "cut": cut,
    "lengths": lengths,
    "kinds": kinds,
    "rare sum": rare_sum,
    "on loss": on_loss,
    "read": read,
    "by numpy": by_numpy,
    "one row": one_row,
    "largest": largest,
    "short batch": short_batch,
    "all of": all_of,
    "noisy": noisy,
    "coin": coin,
    "chosen": chosen,
}
OPTIMIZERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "sgd": partial(optim.SGD, lr=0.05),
    "momentum": partial(optim.SGD, lr=0.02, momentum=0.9, weight_decay=1e-3),
    "adam": partial(optim.Adam, lr=1e-3, eps=1e-4),
    "adamax": partial(optim.Adamax, lr=1e-3, eps=1e-4),
}
STATES = ("none", "none", "closure", "dict", "cache")


@dataclass(frozen=True)
class Plan:
    """A drawn set-up: everything that it consists of, as plain values."""

    widths: tuple[int, ...]
    norm: bool
    dropout: float
    terms: tuple[tuple[str, float], ...]
    state: str
    switch: int
    optimizer: str
    batch_size: int
    drop_last: bool

    def setup(self) -> Setup:
        """Return the set-up."""
        return Setup(str(self), self.recipe)

    def recipe(self) -> Recipe:
        """Return the arguments of the task, its state at the beginning."""
        return {
            "model": self.model,
            "loss": _with_state(self._loss, self.state, self.switch),
            "data": (POINTS, CURVE, LENGTHS, CLASSES),
            "optimizer": OPTIMIZERS[self.optimizer],
            "batch_size": self.batch_size,
            "drop_last": self.drop_last,
            "steps": STEPS,
        }

    def model(self) -> nn.Module:
        """Build the net."""
        layers: list[nn.Module] = []
        for given, made in zip((4, *self.widths), self.widths, strict=False):
            layers += [nn.Linear(given, made, bias=not self.norm)]
            layers += [nn.BatchNorm1d(made)] if self.norm else []
            layers += [nn.Tanh(), nn.Dropout(self.dropout)]
        return nn.Sequential(*layers, nn.Linear(self.widths[-1], 1))

    def _loss(self, model: nn.Module, batch: Any) -> Tensor:
        out = model(batch[0])
        parts = [TERMS[name](out, batch, level) for name, level in self.terms]
        # One term that always has a gradient: a mask may be empty.
        return torch.stack(parts).sum() + 0.05 * out.square().mean()


def _with_state(loss: Any, state: str, switch: int) -> Any:
    """Return a loss that changes for good at call ``switch``, or remembers its first batch."""
    if state == "none":
        return loss
    if state == "closure":
        return _counting(loss, switch)
    kept: dict[str, Any] = {"calls": 0}

    def by_dict(model: nn.Module, batch: Any) -> Tensor:
        kept["calls"] += 1
        found = loss(model, batch)
        return found if kept["calls"] < switch else 2 * found

    def by_cache(model: nn.Module, batch: Any) -> Tensor:
        if "mean" not in kept:
            kept["mean"] = batch[0].mean(0)
        return loss(model, (batch[0] - kept["mean"], *batch[1:]))

    return by_dict if state == "dict" else by_cache


def _counting(loss: Any, switch: int) -> Any:
    calls = 0

    def by_closure(model: nn.Module, batch: Any) -> Tensor:
        nonlocal calls
        calls += 1
        return loss(model, batch) if calls < switch else (loss(model, batch) + 0.1).sqrt()

    return by_closure


plans = st.builds(
    Plan,
    widths=st.lists(st.integers(2, 9), min_size=1, max_size=2).map(tuple),
    norm=st.booleans(),
    dropout=st.sampled_from([0.0, 0.0, 0.3]),
    terms=st.lists(
        st.tuples(st.sampled_from(sorted(TERMS)), st.floats(0.05, 0.95).map(lambda x: round(x, 2))),
        min_size=1,
        max_size=3,
    ).map(tuple),
    state=st.sampled_from(STATES),
    switch=st.integers(2, 14),
    optimizer=st.sampled_from(sorted(OPTIMIZERS)),
    batch_size=st.sampled_from([5, 8, 23]),
    drop_last=st.booleans(),
)
