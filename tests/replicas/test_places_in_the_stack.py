"""What is done where a replica's bits depend on its place in a stack, or on the stack's size."""

from __future__ import annotations

from typing import Any

import cases
import pytest
import torch
from torch import Tensor

import wingbeat as wb
from wingbeat.replicas.drivers.lockstep import Lockstep
from wingbeat.replicas.drivers.registry import DRIVERS, DriverKind
from wingbeat.replicas.drivers.selection import PLACE, SIZE
from wingbeat.task.data import Batch
from wingbeat.task.step import State, TrainingStep

ROUNDING = 1e-15


class Uneven:
    """Lock step that rounds otherwise: in later places of a stack, in larger stacks, or not."""

    name = "lockstep"
    uneven = False

    def __init__(self, step: TrainingStep, mode: str) -> None:
        self.mode, self.inner = mode, Lockstep(step, "traced")

    def __call__(self, state: State, batch: Batch, index: int) -> tuple[State, Tensor]:
        """Return the next state, off by some roundings."""
        after, losses = self.inner(state, batch, index)
        count = len(after.params)
        places = torch.arange(count, dtype=after.params.dtype)[:, None]
        off = {"place": places, "size": torch.full_like(places, count)}.get(self.mode)
        moved = after.params if off is None else after.params + ROUNDING * off
        return State(moved, after.buffers, after.slots), losses


def run(monkeypatch: pytest.MonkeyPatch, *modes: str) -> wb.Result:
    """Run with a driver of these modes in place of lock step."""
    usual, kind = DRIVERS.find, DriverKind("lockstep", Uneven, modes, modes[0])
    monkeypatch.setattr(DRIVERS, "find", lambda name: kind if name == "lockstep" else usual(name))
    later: dict[str, Any] = {"replicas": 2, "driver": "lockstep", "dtype": torch.float64}
    task = cases.task("mlp", steps=6)
    # Stacks are filled up to whole vectors: so many that they are of two sizes all the same.
    several = [wb.Gaussian(0.01), *(wb.Gaussian(0.01 * i, at=3) for i in range(1, 17))]
    return wb.run(task, several, progress=False, **later)


CASES = [
    (("even",), "even", [], True),
    (("place", "even"), "even", [], True),
    (("place", "size"), "size", [SIZE], True),
    (("size", "even"), "size", [SIZE], True),
    (("place",), "place", [PLACE], False),
    (("place", "place"), "place", [PLACE], False),
]


@pytest.mark.parametrize(("modes", "taken", "warned", "exact"), CASES)
def test_a_mode_in_which_copies_part_is_left_for_one_in_which_they_do_not(
    monkeypatch: pytest.MonkeyPatch, modes: Any, taken: str, warned: list[str], exact: bool
) -> None:
    result = run(monkeypatch, *modes)
    assert result.environment["mode"] == taken
    assert [w for w in result.warnings if w in (PLACE, SIZE)] == warned
    assert (result.noise_floor == 0.0) == exact


def test_what_was_asked_for_and_why_it_was_left_is_written_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = run(monkeypatch, "place", "even")
    assert result.environment["driver_reason"] == "asked for; place, equal copies part"
