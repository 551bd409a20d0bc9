"""Whatever a loss reads in Python, lock step takes no step that a plain loop would not have taken.

Random models and losses are held to the hand-written loop: lock step equals it, or refuses, or
falls back to the loop. Only user code that keeps state between calls may end in other numbers,
and then a warning says so.
"""

from __future__ import annotations

import re

import plain_hold
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from random_losses import Plan, plans

import wingbeat as wb

EXAMPLES, MANY = 20, 150


def holds(plan: Plan, driver: str) -> None:
    """Assert that a drawn set-up has an honest outcome."""
    setup = plan.setup()
    try:
        result = plain_hold.run(setup, driver, torch.float64)
    except wb.DriverError:
        assert driver == "lockstep", "only lock step may refuse what a plain loop trains"
        return
    off = plain_hold.differences(setup, result, torch.float64) + plain_hold.twin_differences(result)
    said = " ".join(result.warnings)
    excused = plan.state != "none" and re.search("state|twin", said)
    assert not off or excused, (off, result.environment["driver"], result.warnings)
    if result.environment["driver"] != "lockstep":
        assert result.environment["driver_reason"]


def bounded(examples: int) -> settings:
    """Return the settings of a search that draws the same examples every time."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
        phases=[Phase.generate],  # shrinking takes minutes, and a plan is short as it is
    )


@pytest.mark.slow
@bounded(EXAMPLES)
@given(plan=plans)
def test_auto_equals_the_plain_loop(plan: Plan) -> None:
    holds(plan, "auto")


@bounded(EXAMPLES)
@given(plan=plans)
def test_lock_step_equals_the_plain_loop_or_refuses(plan: Plan) -> None:
    holds(plan, "lockstep")


@pytest.mark.slow
@bounded(MANY)
@given(plan=plans)
def test_auto_equals_the_plain_loop_many_times(plan: Plan) -> None:
    holds(plan, "auto")


@pytest.mark.slow
@bounded(MANY)
@given(plan=plans)
def test_lock_step_equals_the_plain_loop_or_refuses_many_times(plan: Plan) -> None:
    holds(plan, "lockstep")
