"""Set-ups with state outside the model: what user code keeps between calls.

A plain loop calls the loss once a step. Whoever calls it more often (a trial, a twin, a replica)
moves such state on. Other numbers are therefore honest only with a warning that says "state", or
that the null twin does not stay at the reference.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from plain_setup import EXACT, Counter, Recipe, Setup, dense, recipe, refused, squared, warned
from torch import Tensor, nn

NAMED = "state|twin"
STATE = (EXACT, refused(NAMED), warned(NAMED))
CALLS = 0
SEEN: dict[str, int] = {"calls": 0}


def phase(loss: Tensor, calls: int) -> Tensor:
    """Return another loss from the tenth call on."""
    return loss if calls < 10 else 3 * loss.sqrt()


def by_closure() -> Recipe:
    """Count in a variable of an enclosing function."""
    calls = 0

    def loss(model: nn.Module, batch: Any) -> Tensor:
        nonlocal calls
        calls += 1
        return phase(squared(model, batch), calls)

    return recipe(loss=loss)


def by_dict() -> Recipe:
    """Count in a dict that the loss closes over."""
    state = {"calls": 0}

    def loss(model: nn.Module, batch: Any) -> Tensor:
        state["calls"] += 1
        return phase(squared(model, batch), state["calls"])

    return recipe(loss=loss)


def by_default() -> Recipe:
    """Count in a default argument."""

    def loss(model: nn.Module, batch: Any, state: dict[str, int] = {"calls": 0}) -> Tensor:  # noqa: B006
        state["calls"] += 1
        return phase(squared(model, batch), state["calls"])

    return recipe(loss=loss)


def _counting(model: nn.Module, batch: Any) -> Tensor:
    global CALLS  # noqa: PLW0603
    CALLS += 1
    return phase(squared(model, batch), CALLS)


def by_global() -> Recipe:
    """Count in a global of the module."""
    global CALLS  # noqa: PLW0603
    CALLS = 0
    return recipe(loss=_counting)


def _counting_in_dict(model: nn.Module, batch: Any) -> Tensor:
    SEEN["calls"] += 1
    return phase(squared(model, batch), SEEN["calls"])


def by_global_dict() -> Recipe:
    """Count in a global dict."""
    SEEN["calls"] = 0
    return recipe(loss=_counting_in_dict)


class Callable_:
    """A loss that is an object and counts its calls."""

    def __init__(self) -> None:
        self.state = Counter()

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        self.state.calls += 1
        return phase(squared(model, batch), self.state.calls)


class Counting(nn.Module):
    """Counts its forward passes in an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.calls = dense(), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        out: Tensor = self.net(x) if self.calls < 10 else 2 * self.net(x)
        return out


class Buffered(nn.Module):
    """Counts its forward passes in a buffer and changes with it: state, and no secret."""

    def __init__(self) -> None:
        super().__init__()
        self.net = dense()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        out: Tensor = torch.where(self.calls < 10, self.net(x), 2 * self.net(x))
        return out


def by_history() -> Recipe:
    """Weigh by the mean of the losses so far, kept in a list."""
    history: list[float] = []

    def loss(model: nn.Module, batch: Any) -> Tensor:
        value = squared(model, batch)
        history.append(float(value))
        return value / (0.1 + sum(history) / len(history))

    return recipe(loss=loss)


def by_average() -> Recipe:
    """Follow a mean teacher that the loss itself updates."""
    kept: dict[str, nn.Module] = {}

    def loss(model: nn.Module, batch: Any) -> Tensor:
        teacher = kept.setdefault("teacher", copy.deepcopy(model))
        with torch.no_grad():
            for own, other in zip(teacher.parameters(), model.parameters(), strict=True):
                own.lerp_(other.detach(), 0.1)
            wanted = teacher(batch[0])
        return squared(model, batch) + F.mse_loss(model(batch[0]), wanted)

    return recipe(loss=loss)


def by_generator() -> Recipe:
    """Draw from a generator of its own, which no seed of the run reaches."""
    generator = torch.Generator().manual_seed(1)

    def loss(model: nn.Module, batch: Any) -> Tensor:
        noise = torch.randn(batch[0].shape, generator=generator, dtype=torch.float64)
        return squared(model, (batch[0] + 0.1 * noise.to(batch[0]), batch[1]))

    return recipe(loss=loss)


def by_augment() -> Recipe:
    """Count in the augmentation."""
    state = {"calls": 0}

    def augment(batch: Any, draws: Any) -> Any:
        state["calls"] += 1
        return (batch[0] * (1.0 if state["calls"] < 10 else 0.5), *batch[1:])

    return recipe(augment=augment)


def state(pins: str, make: Any) -> Setup:
    """Return a set-up for which other numbers need a warning."""
    return Setup(pins, make, accepts=STATE)


SETUPS = {
    "closure counter": state("a counter in a closure begins phase two", by_closure),
    "dict counter": state("a counter in a dict begins phase two", by_dict),
    "default counter": state("a counter in a default argument", by_default),
    "global counter": state("a counter in a global begins phase two", by_global),
    "global dict counter": state("a counter in a global dict", by_global_dict),
    "object counter": state("a loss object counts", lambda: recipe(loss=Callable_())),
    "module counter": state("a module counts", lambda: recipe(model=Counting)),
    "buffer counter": Setup(
        "a counter in a buffer travels with the replica",
        lambda: recipe(model=Buffered),
        stacks=True,
    ),
    "history of losses": state("a list of losses", by_history),
    "mean teacher": state("a moving average kept by the loss", by_average),
    "own generator": state("a generator of the user's", by_generator),
    "augment counter": state("a counter in the augmentation", by_augment),
}
