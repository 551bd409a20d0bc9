"""A task's further options are what a loop by hand does, and the twin has the reference's bits."""

from __future__ import annotations

from functools import cache
from typing import Any

import options
import plain_hold
import pytest
import torch
from options import OPTIONS, Option

import wingbeat as wb

STACKING = [name for name, case in OPTIONS.items() if case.stacks]
QUICK = ("loss of the step", "clamp", "accumulate by AdamW", "padding", "weighted loader", "stream")
"""In lock step each takes a second to record: the others are slow tests."""


def dtype_of(case: Option) -> torch.dtype:
    return torch.float32 if case.single else torch.float64


@cache
def outcome(name: str, driver: str) -> wb.Result:
    case = OPTIONS[name]
    return run(case, driver, dtype_of(case))


def run(case: Option, driver: str, dtype: torch.dtype, **more: Any) -> wb.Result:
    return wb.run(
        wb.Task(**case.recipe()),
        wb.Gaussian(0.01),
        replicas=1,
        record_every=2,
        driver=driver,
        dtype=dtype,
        metrics=["l2"],
        progress=False,
        **more,
    )


def hold(name: str, driver: str, tolerance: float) -> None:
    case, found = OPTIONS[name], outcome(name, driver)
    first = found.trajectory.at(0)
    starts = {"reference": None, first.labels[2]: {k: t[2] for k, t in first.params.items()}}
    for label, start in starts.items():
        plain = options.train(case, dtype_of(case), start)
        assert not plain_hold.against(found, label, plain, tolerance)


@pytest.mark.parametrize("name", OPTIONS)
def test_on_the_loop(name: str) -> None:
    # Bitwise where nothing is averaged by us: the model and its optimizer are called as they are.
    hold(name, "loop", 1e-6 if OPTIONS[name].single else 1e-12)
    assert not plain_hold.twin_differences(outcome(name, "loop"))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in STACKING]
)
def test_in_lock_step(name: str) -> None:
    # A stack of 16-bit products rounds otherwise than one, by their type's spacing; updates carry
    # it on.
    hold(name, "lockstep", {"fp16": 2e-3, "bf16": 1.6e-2}.get(OPTIONS[name].precision or "", 1e-12))
    found = outcome(name, "lockstep")
    assert found.environment["driver"] == "lockstep"
    assert not plain_hold.twin_differences(found)


@pytest.mark.parametrize("name", [n for n in OPTIONS if n not in STACKING])
def test_the_reason_for_the_loop_is_said(name: str) -> None:
    """What lock step cannot do exactly is refused there, by name."""
    words = "Python reads|hidden state"
    with pytest.raises(wb.DriverError, match=words):
        run(OPTIONS[name], "lockstep", dtype_of(OPTIONS[name]))
