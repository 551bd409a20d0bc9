"""State that a task's own functions keep in Python: each replica has its own, to the bit."""

from __future__ import annotations

import collections
import copy
import itertools
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from cases import by_hand
from torch import Tensor, nn
from torch.nn import functional as F

import wingbeat as wb
from wingbeat.task.batches import Batches, Streams
from wingbeat.task.hidden_state import HiddenState

CPU = torch.device("cpu")
X = torch.randn(32, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Batch = Any
GLOBAL = 0
TABLE: dict[str, Any] = {"n": 0}


def error(model: nn.Module, batch: Batch) -> Tensor:
    found: Tensor = model(batch[0]).square().mean()
    return found


def global_number() -> Callable[..., Tensor]:
    def loss(model: nn.Module, batch: Batch) -> Tensor:
        global GLOBAL  # noqa: PLW0603
        GLOBAL += 1
        return error(model, batch) * (1 if GLOBAL <= 10 else 3)

    return loss


def global_table() -> Callable[..., Tensor]:
    def loss(model: nn.Module, batch: Batch) -> Tensor:
        TABLE["n"] += 1
        return error(model, batch) * (1 if TABLE["n"] <= 10 else 3)

    return loss


def closure() -> Callable[..., Tensor]:
    calls = 0

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        nonlocal calls
        calls += 1
        return error(model, batch) / calls

    return loss


def attribute_of_the_function() -> Callable[..., Tensor]:
    def loss(model: nn.Module, batch: Batch) -> Tensor:
        loss.calls += 1  # type: ignore[attr-defined]
        return error(model, batch) / loss.calls  # type: ignore[attr-defined]

    loss.calls = 0  # type: ignore[attr-defined]
    return loss


def default_argument() -> Callable[..., Tensor]:
    def loss(model: nn.Module, batch: Batch, past: list[float] = []) -> Tensor:  # noqa: B006
        value = error(model, batch)
        past.append(float(value.detach()))
        return value / (1 + sum(past[-3:]))

    return loss


def queue() -> Callable[..., Tensor]:
    past: collections.deque[Tensor] = collections.deque(maxlen=3)

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        out = model(batch[0])
        past.append(out.detach().mean(0))
        return F.mse_loss(out, torch.stack(list(past)).mean(0).expand_as(out)) + error(model, batch)

    return loss


class Curriculum:
    """An object with a phase, a running mean and a class-wide count."""

    seen = 0

    def __init__(self) -> None:
        self.mean: Tensor | None = None

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        Curriculum.seen += 1
        value = error(model, batch)
        held = value.detach()
        self.mean = held if self.mean is None else 0.9 * self.mean + 0.1 * held
        return value * (1 + self.mean) if Curriculum.seen > 5 else value


def random_sources() -> Callable[..., Tensor]:
    a, b = random.Random(3), np.random.default_rng(4)
    c, d = torch.Generator().manual_seed(5), itertools.count(1)

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        noise = torch.rand(3, generator=c, dtype=torch.float64)
        return error(model, (batch[0] + noise * next(d),)) * (1 + a.random() + b.random())

    return loss


def moving_average_teacher() -> Callable[..., Tensor]:
    """A mean teacher (Tarvainen and Valpola, 2017) that the loss makes and moves itself."""
    teacher = net().double()

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        with torch.no_grad():
            for slow, fast in zip(teacher.parameters(), model.parameters(), strict=True):
                slow.data.mul_(0.9).add_(fast.detach(), alpha=0.1)
            aim = teacher(batch[0])
        return F.mse_loss(model(batch[0]), aim) + error(model, batch)

    return loss


def critic() -> Callable[..., Tensor]:
    """A second network with an optimizer of its own, trained inside the loss."""
    judge = net().double()
    own = torch.optim.Adam(judge.parameters(), lr=0.05)

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        with torch.enable_grad():
            own.zero_grad()
            (judge(batch[0]).square() - model(batch[0]).detach()).square().mean().backward()
            own.step()
        return F.mse_loss(model(batch[0]), judge(batch[0]).detach())

    return loss


WRITTEN = """
class Phase:
    def __init__(self):
        self.factor = 1.0
    def next(self):
        self.factor *= 1.1
        return self.factor

phase, calls = Phase(), 0

def loss(model, batch):
    global calls
    calls += 1
    return model(batch[0]).square().mean() * phase.next() * (1 if calls <= 10 else 3)
"""


def written() -> Callable[..., Tensor]:
    """A text that was executed: what it makes belongs to no module."""
    names: dict[str, Any] = {}
    exec(WRITTEN, names)
    found: Callable[..., Tensor] = names["loss"]
    return found


def net() -> nn.Module:
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


KINDS: dict[str, Callable[[], Callable[..., Tensor]]] = {
    "global number": global_number,
    "global table": global_table,
    "closure": closure,
    "attribute of the function": attribute_of_the_function,
    "default argument": default_argument,
    "queue": queue,
    "object": Curriculum,
    "random sources": random_sources,
    "teacher": moving_average_teacher,
    "critic": critic,
    "written": written,
}
kinds = pytest.mark.parametrize("kind", KINDS)


def fresh(kind: str) -> wb.Task:
    """Return a task whose functions remember nothing yet."""
    global GLOBAL
    GLOBAL, TABLE["n"], Curriculum.seen = 0, 0, 0
    return wb.Task(
        model=lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.2), nn.Linear(4, 2)),
        loss=KINDS[kind](),
        data=(X,),
        optimizer=lambda params: torch.optim.SGD(params, lr=0.05, momentum=0.9),
        batch_size=8,
        steps=16,
    )


def run(task: wb.Task, **options: Any) -> wb.Result:
    options = {"driver": "auto", "replicas": 2, "progress": False, **options}
    return wb.run(task, wb.Gaussian(0.01), dtype=torch.float64, metrics=["l2"], **options)


def ends(result: wb.Result, row: int = 0) -> list[Tensor]:
    return [t[row] for t in result.trajectory.at(result.steps[-1]).params.values()]


@kinds
def test_the_reference_is_the_plain_loop_and_the_twin_is_exact(kind: str) -> None:
    expected = by_hand(fresh(kind))
    result = run(fresh(kind))
    assert "hidden state" in result.environment["driver_reason"] or (
        result.environment["mode"] == "object"
    )
    assert result.noise_floor == 0.0
    assert result.warnings == ()
    for found, value in zip(ends(result), expected, strict=True):
        assert torch.allclose(found, value, rtol=1e-12, atol=1e-14)


@kinds
def test_a_run_leaves_the_users_objects_as_they_were(kind: str) -> None:
    """The same request again, in the same process, gives the same bits."""
    task = fresh(kind)
    first, second = run(task), run(task)
    assert all(torch.equal(a, b) for a, b in zip(ends(first, 3), ends(second, 3), strict=True))


@kinds
def test_a_killed_run_goes_on_with_the_state_of_each_replica(kind: str, tmp_path: Path) -> None:
    whole = run(fresh(kind), record_every=4)

    class Stop(Exception):
        pass

    def failing(batch: Batch, draws: Any) -> Batch:
        if failing.left == 0:  # type: ignore[attr-defined]
            raise Stop
        failing.left -= 1  # type: ignore[attr-defined]
        return batch

    task = copy.copy(fresh(kind))
    object.__setattr__(task, "augment", failing)
    failing.left = 13  # type: ignore[attr-defined]
    options = {"record_every": 4, "out": tmp_path, "checkpoint_seconds": 0.0}
    with pytest.raises(wb.RunError):
        run(task, **options)
    task = fresh(kind)
    object.__setattr__(task, "augment", failing)
    failing.left = 1000  # type: ignore[attr-defined]
    after = run(task, **options)
    for row in range(4):
        pairs = zip(ends(whole, row), ends(after, row), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_what_cannot_be_copied_is_refused_by_name() -> None:
    kept: list[Any] = []

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        kept.append(object())
        return error(model, batch)

    task = fresh("closure")
    object.__setattr__(task, "loss", loss)
    with pytest.raises(wb.RequestError, match=r"kept.*own object"):
        run(task)


def test_state_that_changes_only_later_is_warned_about() -> None:
    seen = {"n": 0}

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        if bool((batch[0][0] == late).all()):
            seen["n"] += 1
        return error(model, batch) * (1 + seen["n"])

    task = fresh("closure")
    late = Batches(task, torch.float64, CPU).batch(Streams.of(0), 9)[0][0]
    object.__setattr__(task, "loss", loss)
    result = run(task, driver="loop")
    assert any(w.startswith("seen changed during training") for w in result.warnings)
    assert seen == {"n": 0}


def test_libraries_and_data_are_not_looked_into() -> None:
    large = torch.zeros(5_000_000)
    loss = lambda m, b: F.mse_loss(m(b[0]), large[:2].expand(8, 2).double())  # noqa: E731
    kept = HiddenState(SimpleNamespace(loss=loss), nn.Linear(3, 2))  # type: ignore[arg-type]
    assert all(not tensors for _, tensors in kept.look())
