"""The null twin has exactly the bits of the reference, on the runs of ``test_plain_reference``.

Where user code keeps state between calls it may not, if a warning says so.
"""

from __future__ import annotations

import plain_hold
import pytest
import torch
from setups import SETUPS
from test_plain_reference import CHOSEN, DOUBLE, SINGLE, STACKING, quick

import wingbeat as wb


def holds(name: str, driver: str, dtype: torch.dtype) -> None:
    """Assert that the twin is equal, or that a warning names why it is not."""
    found = plain_hold.outcome(name, driver, dtype)
    if isinstance(found, wb.Result):
        off = plain_hold.twin_differences(found)
        warned = plain_hold.fitting(SETUPS[name].accepts, "warned", " ".join(found.warnings))
        assert not off or warned, off
        assert found.noise_floor == 0.0 or warned


@pytest.mark.parametrize("name", DOUBLE)
def test_on_the_loop(name: str) -> None:
    holds(name, "loop", torch.float64)


@pytest.mark.parametrize("name", quick(STACKING))
def test_in_lock_step(name: str) -> None:
    holds(name, "lockstep", torch.float64)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in SINGLE if SETUPS[n].stacks])
def test_in_lock_step_in_single_precision(name: str) -> None:
    holds(name, "lockstep", torch.float32)


@pytest.mark.parametrize("name", CHOSEN)
def test_by_the_driver_that_is_chosen(name: str) -> None:
    holds(name, "auto", torch.float32)
