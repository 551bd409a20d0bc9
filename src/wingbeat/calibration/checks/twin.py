"""An unperturbed copy stays exactly on the reference."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from torch import optim

from wingbeat.calibration.check import ClosedForm, Placement, check
from wingbeat.calibration.checks.training_map import small_task
from wingbeat.execution.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterator


@check("twin", "an unperturbed twin, a second run and a plain loop", "docs/exactness.md")
def twin(place: Placement) -> Iterator[ClosedForm]:
    """Compare a twin with its reference, and a run with another, by every driver."""
    rules = {
        "momentum": partial(optim.SGD, lr=0.3, momentum=0.9),
        "Adam": partial(optim.Adam, lr=0.01),
    }
    for name, rule in rules.items():
        for driver in ("loop", "lockstep"):
            found = verify(
                small_task(rule),
                driver=driver,
                dtype=place.dtype,
                device=place.device,
                progress=False,
            )
            for what, broken in (
                ("twin", found.twins),
                ("second run", found.repeated),
                ("plain loop", found.plain),
            ):
                parted = float(broken is not None)
                yield ClosedForm(f"{name}, {driver}: {what} parts", 0.0, parted, 0.0)
