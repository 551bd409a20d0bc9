"""Run the checks and say which agree."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import torch

from wingbeat.brief import brief
from wingbeat.calibration.check import CHECKS, Check, ClosedForm, Placement
from wingbeat.determinism import deterministic_algorithms, seeded
from wingbeat.errors import RequestError, nearest
from wingbeat.fingerprint import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TYPES: Final = {"float64": torch.float64, "float32": torch.float32}
"""Closed forms are compared to rounding: in half precision hardly anything is left of them."""
COLUMNS: Final = ["check", "quantity", "expected", "found", "tolerance", "verdict", "why"]


@dataclass(frozen=True)
class Calibration:
    """What the checks came to.

    Attributes:
        table: a row for each closed form: check, quantity, expected, found, tolerance, verdict
            ("agrees" or "differs"), why (where the tolerance comes from).
        environment: machine, versions, device and type.
        seconds: that each check took.
    """

    table: pd.DataFrame
    environment: dict[str, Any] = field(repr=False)
    seconds: dict[str, float] = field(repr=False)

    __repr__ = brief

    @property
    def agrees(self) -> bool:
        """Whether every closed form was found, and there was one at all."""
        return len(self.table) > 0 and bool((self.table.verdict == "agrees").all())

    def to_json(self) -> dict[str, Any]:
        """Return everything, JSON-safe."""
        rows = self.table.to_json(orient="records", double_precision=15)
        return {
            "agrees": self.agrees,
            "table": json.loads(rows),
            "environment": self.environment,
            "seconds": self.seconds,
        }


def calibrate(
    only: Sequence[str] = (),
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float64,
    tick: Callable[[str], object] | None = None,
) -> Calibration:
    """Compare closed forms with what this machine finds, on a device and in a type.

    Args:
        only: names of checks; all by default.
        device: where.
        dtype: float64 or float32.
        tick: called with the name of each check before it starts.

    Returns:
        A table of what was expected and found. A check that raises is a row that differs, with
        the error as its reason: the others still run.

    Raises:
        RequestError: an unknown check, a type or a device that cannot be used here.

    >>> found = calibrate(["barriers"])
    >>> found.agrees, list(found.table.columns[:3])
    (True, ['check', 'quantity', 'expected'])
    """
    chosen, place = _chosen(only), _place(device, dtype)
    rows, seconds = [], {}
    for one in chosen:
        if tick is not None:
            tick(one.name)
        begun = time.perf_counter()
        rows += [(one.name, *_row(found)) for found in _compared(one, place)]
        seconds[one.name] = round(time.perf_counter() - begun, 3)
    table = pd.DataFrame(rows, columns=COLUMNS)
    return Calibration(table, fingerprint(place.device, place.dtype), seconds)


def _chosen(only: Sequence[str]) -> list[Check]:
    names = CHECKS.names()
    for name in only:
        if name not in names:
            raise RequestError(f"there is no check {name!r}: {nearest(name, names)}")
    return [CHECKS.find(name) for name in names if not only or name in only]


def _place(device: str | torch.device, dtype: torch.dtype) -> Placement:
    if dtype not in TYPES.values():
        raise RequestError(f"dtype is {dtype}; closed forms are compared in float64 or float32")
    try:
        place = Placement(torch.device(device), dtype)
        place.tensor(1.0)
    except (RuntimeError, TypeError, AssertionError) as error:
        raise RequestError(
            f"device {device!s} with {dtype} cannot be used here: {error}"
        ) from error
    return place


def _compared(one: Check, place: Placement) -> list[ClosedForm]:
    with seeded(0), deterministic_algorithms():
        try:
            return list(one.function(place))
        except Exception as error:  # whatever fails on this machine is what is asked about
            said = f"{type(error).__name__}: {error}".splitlines()[0]
            return [ClosedForm("the check itself", float("nan"), float("nan"), 0.0, said)]


def _row(found: ClosedForm) -> tuple[Any, ...]:
    values = found.expected, found.found, found.tolerance
    return (found.quantity, *map(float, values), found.verdict, found.why)
