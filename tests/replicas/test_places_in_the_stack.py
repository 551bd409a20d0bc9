"""What is done where a replica's bits depend on its place in a stack, or on the stack's size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cases
import pytest
import torch
from torch import Tensor

import wingbeat as wb
from wingbeat.replicas.drivers.equal_copies import PLACE, SIZE
from wingbeat.replicas.drivers.lockstep import Lockstep
from wingbeat.replicas.drivers.registry import DRIVERS, DriverKind
from wingbeat.replicas.drivers.selection import DriverSelector
from wingbeat.replicas.drivers.smaller_stacks import PARTED
from wingbeat.task.data import Batch
from wingbeat.task.step import State, TrainingStep

ROUNDING = 1e-15


class Uneven(Lockstep):
    """Lock step that rounds otherwise: in later places of a stack, in larger stacks, or not.

    "place" does so in later places, "place>8" in later places of stacks above 8, "size" in stacks
    of another size, "both>8" where one of the last two does.
    """

    def __init__(self, step: TrainingStep, mode: str) -> None:
        super().__init__(step, "traced")
        self.mode = mode

    def __call__(self, state: State, batch: Batch, index: int) -> tuple[State, Tensor]:
        """Return the next state, off by some roundings."""
        after, losses = super().__call__(state, batch, index)
        count = len(after.params)
        places = torch.arange(count, dtype=after.params.dtype)[:, None]
        off = torch.zeros_like(places)
        if self.mode == "place" or (self.mode in ("place>8", "both>8") and count > 8):
            off += places
        if self.mode in ("size", "both>8"):
            off += count
        return State(after.params + ROUNDING * off, after.buffers, after.slots), losses


def run(
    monkeypatch: pytest.MonkeyPatch, *modes: str, driver: str = "lockstep", later: int = 16
) -> wb.Result:
    """Run with a driver of these modes in place of lock step."""
    usual, kind = DRIVERS.find, DriverKind("lockstep", Uneven, modes, modes[0])
    monkeypatch.setattr(DRIVERS, "find", lambda name: kind if name == "lockstep" else usual(name))
    task = cases.task("mlp", steps=6)
    # Stacks are filled up to whole vectors: so many that they are of two sizes all the same.
    several = [wb.Gaussian(0.01), *(wb.Gaussian(0.01 * i, at=3) for i in range(1, later + 1))]
    return wb.run(
        task,
        several,
        replicas=2,
        metrics=["l2"],
        driver=driver,
        dtype=torch.float64,
        progress=False,
    )


def reference(result: wb.Result) -> Tensor:
    """Return the reference's weights at the end."""
    last = result.trajectory.at(result.trajectory.steps[-1])
    return torch.cat([t[0].flatten() for t in last.params.values()])


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


@pytest.mark.parametrize("mode", ["both>8", pytest.param("place>8", marks=pytest.mark.slow)])
def test_smaller_stacks_keep_the_twin_exact_where_the_whole_parts_it(
    monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    result = run(monkeypatch, mode, "even", later=8)
    chosen = result.environment
    assert (chosen["mode"], chosen["chunk"], chosen["spare"]) == (mode, 8, 8)
    assert chosen["driver_reason"] == f"asked for; {PARTED}"
    # The reference and its twin lie in different stacks from step 3 on.
    assert result.noise_floor == 0.0
    assert not {PLACE, SIZE} & set(result.warnings)
    fewer = run(monkeypatch, mode, "even", later=4)
    assert fewer.environment["chunk"] == 8
    assert torch.equal(reference(fewer), reference(result)), "whoever else is in the run"


def test_where_no_smaller_stack_helps_the_warning_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, "place")
    assert PLACE in result.warnings
    assert result.environment["chunk"] == 0


@pytest.mark.parametrize(("stacks", "taken"), [(2e6, "lockstep"), (2e7, "loop")])
def test_auto_takes_smaller_stacks_where_they_beat_the_loop_and_does_so_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stacks: float, taken: str
) -> None:
    monkeypatch.setenv("WINGBEAT_CACHE", str(tmp_path))

    def took(self: DriverSelector, driver: Any, chunk: int, spare: int = 1) -> float:
        return 1e7 if driver.name == "loop" else stacks if spare == 8 else 1e6

    monkeypatch.setattr(DriverSelector, "_time", took)
    for _ in range(2):
        found = run(monkeypatch, "place>8", driver="auto", later=4)
        assert (found.environment["driver"], found.noise_floor) == (taken, 0.0)
        assert found.environment["chunk"] == (8 if taken == "lockstep" else 1)
        monkeypatch.setattr(DriverSelector, "_time", None)  # kept: no clock is asked again
