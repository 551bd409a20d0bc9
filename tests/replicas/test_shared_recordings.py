"""A recording serves every task that takes the same step, and no other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import wingbeat as wb
from wingbeat.replicas.drivers import lockstep
from wingbeat.replicas.drivers.recordings import RECORDINGS

X = torch.randn(48, 3, generator=torch.Generator().manual_seed(1))
Y = (X.sum(1) > 0).long()
LIMIT = 10.0


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Begin without recordings; count those that are made."""
    made: list[int] = []
    record = lockstep.record

    def counted(*args: Any) -> Any:
        made.append(1)
        return record(*args)

    monkeypatch.setattr(lockstep, "record", counted)
    RECORDINGS.clear()
    yield made
    RECORDINGS.clear()


def net(drop: float = 0.0) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(drop), nn.Linear(8, 2))


def loss_of(model: nn.Module, batch: Any) -> torch.Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def limited(model: nn.Module, batch: Any) -> torch.Tensor:
    """No loss here comes near the limit, so that no number tells one limit from another."""
    return loss_of(model, batch).clamp(max=LIMIT)


def penalised(model: nn.Module, batch: Any) -> torch.Tensor:
    return loss_of(model, batch) + helper(model)


def helper(model: nn.Module) -> torch.Tensor:
    return model[0].weight.square().sum() * 0.0  # type: ignore[index]


def other_helper(model: nn.Module) -> torch.Tensor:
    return model[0].weight.square().sum() * 1.0  # type: ignore[index]


def weighted(weights: torch.Tensor) -> Callable[[nn.Module, Any], torch.Tensor]:
    return lambda model, batch: F.cross_entropy(model(batch[0]), batch[1], weights)


def task(**options: Any) -> wb.Task:
    usual: dict[str, Any] = {
        "model": net,
        "loss": loss_of,
        "data": (X, Y),
        "optimizer": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        "batch_size": 16,
        "steps": 6,
    }
    return wb.Task(**{**usual, **options})


def trained(of: wb.Task, **options: Any) -> list[torch.Tensor]:
    result = wb.run(of, wb.Gaussian(0.1), replicas=2, driver="lockstep", compiled=False, **options)
    last = result.trajectory.at(of.steps)
    return [*last.params.values(), last.losses]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_second_run_records_nothing_and_keeps_its_bits(records: list[int]) -> None:
    first = trained(task(model=lambda: net(0.3)))
    count = len(records)
    assert count > 0
    assert same(first, trained(task(model=lambda: net(0.3))))
    assert len(records) == count


def test_base_seeds_share_their_recordings(records: list[int]) -> None:
    trained(task(model=lambda: net(0.3)))
    one = len(records)
    RECORDINGS.clear()
    records.clear()
    wb.run(task(model=lambda: net(0.3)), wb.Gaussian(0.1), replicas=2, seeds=(0, 1, 2))
    assert 0 < len(records) <= 2 * one


Change = Callable[[pytest.MonkeyPatch], wb.Task]


def _global_value(monkeypatch: pytest.MonkeyPatch) -> wb.Task:
    monkeypatch.setitem(globals(), "LIMIT", 20.0)
    return task(loss=limited)


def _called_function(monkeypatch: pytest.MonkeyPatch) -> wb.Task:
    monkeypatch.setitem(globals(), "helper", other_helper)
    return task(loss=penalised)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (lambda: task(loss=limited), _global_value),
        (lambda: task(loss=penalised), _called_function),
        (
            lambda: task(loss=weighted(torch.tensor([1.0, 1.0]))),
            lambda _: task(loss=weighted(torch.tensor([1.0, 3.0]))),
        ),
        (task, lambda _: task(model=lambda: net(0.5))),
        (task, lambda _: task(clip_norm=1e3)),
        (
            task,
            lambda _: task(optimizer=lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.8)),
        ),
        (task, lambda _: task(model=lambda: net().eval(), mode="as built")),
    ],
    ids=["global", "helper", "closed-over", "dropout", "clip", "momentum", "mode"],
)
def test_what_may_take_another_step_is_recorded_anew(
    before: Callable[[], wb.Task],
    after: Change,
    records: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained(before())
    records.clear()
    changed = after(monkeypatch)
    found = trained(changed)
    assert records
    RECORDINGS.clear()
    assert same(found, trained(changed))


def test_a_wrong_recording_is_not_used(records: list[int]) -> None:
    right = trained(task())
    for place, held in list(RECORDINGS._held.items()):
        wrong = dataclasses.replace(
            held,
            run=lambda *leaves, of=held.run: [t * 1.5 for t in of(*leaves)],
            recorded=lambda *leaves, of=held.recorded: [t * 1.5 for t in of(*leaves)],
        )
        RECORDINGS._held[place] = wrong
    records.clear()
    assert same(right, trained(task()))
    assert records


def test_a_recording_that_is_wrong_only_after_the_first_step_is_not_used(
    records: list[int],
) -> None:
    """As one of another momentum would be: the state is 0 before the first step."""
    right = trained(task())

    def wrongly(of: Callable[..., list[torch.Tensor]]) -> Callable[..., list[torch.Tensor]]:
        def run(params: torch.Tensor, slot: torch.Tensor, *rest: torch.Tensor) -> Any:
            after, *others = of(params, slot, *rest)
            return [after - 0.01 * slot, *others]

        return run

    for place, held in list(RECORDINGS._held.items()):
        assert held.recorded is not None
        wrong = wrongly(held.recorded)
        RECORDINGS._held[place] = dataclasses.replace(held, run=wrong, recorded=wrong)
    records.clear()
    assert same(right, trained(task()))
    assert records
