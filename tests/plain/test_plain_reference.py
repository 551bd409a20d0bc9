"""The reference, and a perturbed replica, are what a plain training loop makes of them.

Each set-up is held to the hand-written loop at every snapshot and in every loss. What may happen
instead stands in the table: a refusal or a warning that names the thing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import plain_hold
import pytest
import torch
from setups import SETUPS

SINGLE = [n for n, s in SETUPS.items() if torch.float32 in s.dtypes]
DOUBLE = [n for n, s in SETUPS.items() if torch.float64 in s.dtypes]
STACKING = [n for n in DOUBLE if SETUPS[n].stacks]
FALLING_BACK = [n for n in DOUBLE if not SETUPS[n].stacks]
OBJECTS = [n for n in SINGLE if n.startswith("optimizer: ")]


def quick(names: list[str], slow: Collection[str] = ()) -> list[Any]:
    """Return names as parameters, those that take long (or are named) with the mark "slow"."""
    late = {n for n in names if SETUPS[n].heavy or n in slow}
    return [pytest.param(n, marks=pytest.mark.slow) if n in late else n for n in names]


# Recording these takes seconds; one of each sort stays among the fast.
RECORDED_LONG = ("net: causal attention", "loss: label smoothing", "optimizer: sgd groups")
# Without a pure form "auto" is the loop, which the first test has; a few are left to show it.
CHOSEN = quick([n for n in SINGLE if not SETUPS[n].stacks], slow=OBJECTS[::3] + OBJECTS[1::3])


@pytest.mark.parametrize("name", DOUBLE)
def test_on_the_loop(name: str) -> None:
    plain_hold.hold(name, "loop", torch.float64)


@pytest.mark.slow
@pytest.mark.parametrize("name", SINGLE)
def test_on_the_loop_in_single_precision(name: str) -> None:
    plain_hold.hold(name, "loop", torch.float32)


@pytest.mark.parametrize("name", quick(STACKING, slow=RECORDED_LONG))
def test_in_lock_step(name: str) -> None:
    plain_hold.hold(name, "lockstep", torch.float64)
    found = plain_hold.outcome(name, "lockstep", torch.float64)
    assert found.environment["driver"] == "lockstep"  # type: ignore[union-attr]


@pytest.mark.slow
@pytest.mark.parametrize("name", FALLING_BACK)
def test_in_lock_step_or_refused(name: str) -> None:
    plain_hold.hold(name, "lockstep", torch.float64)


@pytest.mark.slow
@pytest.mark.parametrize("name", SINGLE)
def test_in_lock_step_in_single_precision(name: str) -> None:
    plain_hold.hold(name, "lockstep", torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("name", STACKING)
def test_recorded_one_by_one(name: str) -> None:
    """A step that stacks can be recorded alone: 1e-12 of the plain loop, its twin equal."""
    plain_hold.hold(name, "recorded", torch.float64)
    found = plain_hold.outcome(name, "recorded", torch.float64)
    assert found.environment["driver"] == "recorded"  # type: ignore[union-attr]
    assert not plain_hold.twin_differences(found)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("name", FALLING_BACK)
def test_recorded_one_by_one_or_refused(name: str) -> None:
    plain_hold.hold(name, "recorded", torch.float64)


@pytest.mark.parametrize("name", CHOSEN)
def test_by_the_driver_that_is_chosen(name: str) -> None:
    plain_hold.hold(name, "auto", torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in SINGLE if SETUPS[n].stacks])
def test_by_the_driver_that_is_chosen_where_it_stacks(name: str) -> None:
    plain_hold.hold(name, "auto", torch.float32)


def test_the_table_is_as_long_as_it_must_be() -> None:
    """Forty set-ups at least, and each of them moves."""
    assert len(SETUPS) >= 40
    assert len(STACKING) >= 40
