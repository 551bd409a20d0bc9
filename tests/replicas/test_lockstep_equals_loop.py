"""Lock step is the loop, up to rounding, for every architecture and supported optimizer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cases
import pytest
import torch
from driving import flat, relative, train

from wingbeat.replicas.perturb import Gaussian

TOLERANCE = 1e-10


def compare(
    problem: str, optimizer: str | None, steps: int, at: tuple[int, ...] = (0, 7), **changes: Any
) -> None:
    task = cases.task(problem, optimizer, steps=steps, **changes)
    nudges = [Gaussian(0.01, at=step) for step in at]
    options = {"dtype": torch.float64, "count": 1, "perturbations": nudges}
    one, many = (train(task, driver, **options)[-1] for driver in ("loop", "traced"))
    assert one.labels == many.labels
    assert relative(flat(many), flat(one)) < TOLERANCE
    for name, expected in one.buffers.items():
        assert many.buffers[name].dtype == expected.dtype
        if expected.is_floating_point():
            assert relative(many.buffers[name], expected) < TOLERANCE, name
        else:
            assert torch.equal(many.buffers[name], expected), name
    torch.testing.assert_close(
        many.losses, one.losses, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True
    )
    start = flat(train(replace(task, steps=8), "loop", **options)[0])
    moved = float((flat(one)[0] - start[0]).norm() / start[0].norm())
    assert moved > 1e-3  # the run went somewhere: equality is not that of two runs that stand still


FAST = [*(("mlp", name) for name in cases.OPTIMIZERS), ("cnn", "adam"), ("transformer", "adamw")]


@pytest.mark.parametrize(("problem", "optimizer"), FAST)
def test_forty_steps(problem: str, optimizer: str) -> None:
    compare(problem, optimizer, 40, at=(0,), drop_last=True)


def _pairs() -> list[Any]:
    """All pairs; CI runs every optimizer on the small net and every net with one optimizer."""
    return [
        pytest.param(
            problem,
            optimizer,
            marks=pytest.mark.slow
            if problem == "mlp" or optimizer == "momentum"
            else pytest.mark.long,
        )
        for problem in cases.ARCHITECTURES
        for optimizer in cases.OPTIMIZERS
    ]


@pytest.mark.parametrize(("problem", "optimizer"), _pairs())
def test_two_hundred_steps(problem: str, optimizer: str) -> None:
    compare(problem, optimizer, 200)


@pytest.mark.parametrize("problem", ["tied", "frozen", "clipped"])
def test_every_other_problem(problem: str) -> None:
    compare(problem, None, 20)


@pytest.mark.slow
@pytest.mark.parametrize("problem", cases.PROBLEMS)
def test_every_problem_with_late_forks_and_partial_batches(problem: str) -> None:
    compare(problem, None, 60)
