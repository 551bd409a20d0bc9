"""Stacks of one smaller size that keep equal copies equal, where the whole stack does not.

All stacks are filled up to the same size, so that every replica is advanced by the same program at
any time of the run: the reference and its twin may lie in different ones.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from wingbeat.errors import DriverError
from wingbeat.replicas.drivers.plain import hold_to_plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from wingbeat.replicas.drivers.equal_copies import EqualCopies
    from wingbeat.replicas.drivers.execution_plan import ExecutionPlan
    from wingbeat.replicas.drivers.registry import DriverKind
    from wingbeat.replicas.replicas import Replicas

PARTED = "equal copies part in larger stacks"
"""Why a run's stacks are small; beside it the plan says how large they are."""


def in_smaller_stacks(
    kind: DriverKind,
    parted: ExecutionPlan,
    copies: EqualCopies,
    alone: Callable[[], Replicas],
    reason: str,
) -> ExecutionPlan | None:
    """Return the execution in the largest stacks that are proven; None if there are none.

    Args:
        kind: the driver's.
        parted: the plan in which equal copies part.
        copies: makes the trials.
        alone: returns the reference alone on the loop, at the start.
        reason: why the driver was chosen.
    """
    mode = parted.driver.mode
    if not kind.stacks or kind.compiles(mode) or mode not in kind.modes:  # minutes for each size
        return None
    for size in copies.smaller(parted.chunk, copies.fills(parted.driver)):
        try:
            found = of_size(kind, mode, size, copies, alone, reason)
        except DriverError as error:
            logging.getLogger("wingbeat").info("not in stacks of %d: %s", size, error)
            continue
        if not found.warnings:
            return found
    return None


def of_size(
    kind: DriverKind,
    mode: str,
    size: int,
    copies: EqualCopies,
    alone: Callable[[], Replicas],
    reason: str,
) -> ExecutionPlan:
    """Return the execution in stacks of a size, held to a plain loop; with a warning if they part.

    Raises:
        DriverError: the driver cannot run such stacks, or trains otherwise in them.
    """
    step, everybody = copies.step, copies.stack_schedule[-1]
    step.renew()  # what was tried before may have left its tensors in the model
    driver = kind.function(step, mode)
    hold_to_plain(step, copies.replicas(driver, size, everybody, size), alone, copies.steps)
    return copies.checked(driver, size, f"{reason}; {PARTED}", fills=(size,))
