"""What a recording would freeze: not recorded, or found out and given up, never trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import by_hand
from torch import Tensor, nn
from torch.nn import functional as F

import wingbeat as wb
from wingbeat.replicas.proofs import Proofs

CPU = torch.device("cpu")
X = torch.randn(40, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Y = torch.arange(40) % 7 % 3
Data = tuple[Tensor, Tensor]


def scores(model: nn.Module, batch: Data) -> Tensor:
    out: Tensor = model(batch[0])
    return out


def pieces(model: nn.Module, batch: Data) -> Tensor:
    sizes = [int((batch[1] == k).sum()) for k in range(3)]
    return torch.stack([p.square().mean() for p in torch.split(scores(model, batch), sizes)]).sum()


READS: dict[str, Callable[[nn.Module, Data], Tensor]] = {
    "tolist": lambda m, b: scores(m, b)[: sum(b[1].tolist())].square().mean(),
    "nonzero length": lambda m, b: scores(m, b)[: len((b[1] > 0).nonzero())].square().mean(),
    "mask": lambda m, b: scores(m, b)[b[1] > 0].square().mean(),
    "count of a mask": lambda m, b: scores(m, b).square().sum() / b[1][b[1] > 1].numel(),
    "unique": lambda m, b: scores(m, b).square().mean() * len(b[1].unique()),
    "item": lambda m, b: scores(m, b).square().mean() * b[1].sum().item(),
    "numpy": lambda m, b: scores(m, b).square().mean() * float(b[1].numpy().sum()),
    "branch": lambda m, b: scores(m, b).square().mean() * (1 if b[1].sum() > 7 else 3),
    "int": lambda m, b: scores(m, b)[: int(b[1].sum())].square().mean(),
    "loop over labels": lambda m, b: sum(
        (k + 1) * scores(m, b)[i].square() for i, k in enumerate(b[1].tolist())
    ).mean(),
    "text": lambda m, b: scores(m, b).square().mean() * len(f"{b[1].sum()}"),
    "repeat": lambda m, b: torch.repeat_interleave(scores(m, b), b[1], dim=0).square().mean(),
    "split": pieces,
    "per class": lambda m, b: torch.stack(
        [scores(m, b)[b[1] == k].square().mean() for k in b[1].unique()]
    ).mean(),
    "triplets": lambda m, b: torch.stack(
        [
            F.triplet_margin_loss(scores(m, b)[i], scores(m, b)[j], scores(m, b)[k])
            for i, a in enumerate(b[1].tolist())
            for j, c in enumerate(b[1].tolist())
            for k, d in enumerate(b[1].tolist())
            if i < j and a == c != d and k < 4
        ]
    ).mean(),
}


def task_of(loss: Any, **changes: Any) -> wb.Task:
    options: dict[str, Any] = {
        "model": lambda: nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)),
        "loss": loss,
        "data": (X, Y),
        "optimizer": lambda params: torch.optim.SGD(params, lr=0.05, momentum=0.5),
        "batch_size": 8,
        "steps": 16,
    }
    return wb.Task(**{**options, **changes})


def run(task: wb.Task, driver: str, **options: Any) -> wb.Result:
    return wb.run(
        task,
        wb.Gaussian(0.01),
        replicas=2,
        driver=driver,  # type: ignore[arg-type]
        dtype=torch.float64,
        metrics=["l2"],
        progress=False,
        **options,
    )


def check(result: wb.Result, expected: list[Tensor]) -> None:
    last = result.trajectory.at(result.steps[-1]).params
    for found, value in zip(last.values(), expected, strict=True):
        assert torch.allclose(found[0], value, rtol=1e-11, atol=1e-13)
    assert result.noise_floor == 0.0


@pytest.mark.parametrize("driver", ["auto", "lockstep", "loop"])
@pytest.mark.parametrize("kind", READS)
def test_values_read_in_python_are_those_of_each_batch(kind: str, driver: str) -> None:
    task = task_of(READS[kind])
    try:
        result = run(task, driver)
    except wb.DriverError:
        assert driver == "lockstep"
        return
    assert result.environment["mode"] != "traced"
    check(result, by_hand(task))


def test_a_value_that_follows_from_constants_may_be_read() -> None:
    loss = lambda m, b: scores(m, b).square().mean() * torch.tensor(5.0).item()  # noqa: E731
    result = run(task_of(loss), "lockstep")
    check(result, by_hand(task_of(loss)))


def test_an_ordinary_loss_is_still_recorded() -> None:
    task = task_of(lambda m, b: F.cross_entropy(m(b[0]), b[1].clamp(max=1), ignore_index=0))
    result = run(task, "lockstep")
    assert result.environment["mode"] == "traced"
    check(result, by_hand(task))


def stacked(out: Tensor) -> bool:
    """Tell whether an output belongs to a stack of replicas rather than to one."""
    functorch = torch._C._functorch
    tracked = functorch.is_gradtrackingtensor(out)
    return tracked and functorch.is_batchedtensor(functorch.get_unwrapped(out))


class Late:
    """A loss that changes at one call, by a count that nobody can reach: it is in a generator."""

    def __init__(self, switch: int) -> None:
        self.calls = self.count(switch)

    @staticmethod
    def count(switch: int) -> Any:
        for _ in range(switch):
            yield 1.0
        while True:
            yield -1.0

    def __call__(self, model: nn.Module, batch: Data) -> Tensor:
        return scores(model, batch).square().mean() * next(self.calls)


@pytest.mark.parametrize("switch", [8, 9])
def test_a_switch_that_no_look_can_find_is_given_up(switch: int, tmp_path: Path) -> None:
    """It is noticed when a step is proven: then all replicas begin anew, one by one."""
    result = run(task_of(Late(switch)), "lockstep", out=tmp_path)
    assert result.environment["driver"] == "loop"
    assert any("lock step was given up at step" in w for w in result.warnings)
    written = json.loads((tmp_path / "environment.json").read_text())
    assert written["driver"] == "loop"
    assert written["gave_up"] is True
    again = run(task_of(Late(switch)), "lockstep", out=tmp_path)
    assert again.warnings == result.warnings


def test_what_is_given_up_has_the_bits_of_the_loop() -> None:
    """The function fails in lock step once it has been chosen: at the fifth stacked call."""
    calls = iter(range(10**6))

    def loss(model: nn.Module, batch: Data) -> Tensor:
        out = scores(model, batch)
        if stacked(out) and next(calls) == 4:
            raise ValueError("not here")
        return out.square().mean()

    one, many = run(task_of(loss), "loop"), run(task_of(loss), "lockstep")
    assert "given up at step 5" in many.environment["driver_reason"]
    for step in one.steps:
        a, b = one.trajectory.at(step), many.trajectory.at(step)
        assert all(torch.equal(a.params[k], b.params[k]) for k in a.params)
        assert torch.equal(a.losses.nan_to_num(), b.losses.nan_to_num())


def test_proofs_come_at_fixed_steps_and_within_their_share() -> None:
    proofs = Proofs(1000, 50)
    assert [i for i in range(1000) if proofs.due(i)] == [1, 50, 999]
    proofs.took(0.0)
    assert proofs.due(7)  # what costs nothing may be done at any step


def test_a_teacher_in_the_loss_leaves_nothing_behind() -> None:
    """Its parameters ask for gradients; no step may hold on to the one before."""
    teacher = nn.Linear(3, 2).double()

    def loss(model: nn.Module, batch: Data) -> Tensor:
        with torch.no_grad():
            aim = teacher(batch[0])
        return F.mse_loss(model(batch[0]), aim)

    for driver in ("lockstep", "loop"):
        result = run(task_of(loss), driver)
        check(result, by_hand(task_of(loss)))
        snapshot = result.trajectory.at(16)
        assert not any(t.requires_grad for t in snapshot.params.values())
        assert not snapshot.losses.requires_grad
