"""Declare a check: a function that compares closed forms with what this machine finds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import torch

from wingbeat.plugins import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Compare = Callable[["Placement"], Iterator["ClosedForm"]]

Agreement = Literal["agrees", "differs"]


@dataclass(frozen=True)
class Placement:
    """Where a check computes.

    Attributes:
        device: of tensors and models.
        dtype: float32 or float64.
    """

    device: torch.device
    dtype: torch.dtype

    @property
    def rounding(self) -> float:
        """Distance from 1 to the next number of this type."""
        return float(torch.finfo(self.dtype).eps)

    def tensor(self, *values: float) -> torch.Tensor:
        """Return a vector here."""
        return torch.tensor(values, dtype=self.dtype, device=self.device)


@dataclass(frozen=True)
class ClosedForm:
    """One closed form and what was found.

    Attributes:
        quantity: what is compared.
        expected: by theory.
        found: here.
        tolerance: most that the two may differ, absolute; 0 where they must be equal.
        why: where the tolerance comes from.

    >>> ClosedForm("ln 2", 0.6931, 0.6935, 0.001).verdict
    'agrees'
    >>> ClosedForm("ln 2", 0.6931, float("nan"), 0.001).verdict
    'differs'
    """

    quantity: str
    expected: float
    found: float
    tolerance: float
    why: str = "rounding"

    @property
    def verdict(self) -> Agreement:
        """Return "agrees" within the tolerance; what is not finite never agrees."""
        off = abs(self.found - self.expected)
        return "agrees" if math.isfinite(off) and off <= self.tolerance else "differs"


@dataclass(frozen=True)
class Check:
    """A check as it was declared.

    Attributes:
        name: as it is asked for.
        about: what it compares, in a line.
        function: yields a `ClosedForm` each.
        source: of the closed forms.
    """

    name: str
    about: str
    function: Compare = field(repr=False)
    source: str = ""


CHECKS: Final = Registry[Check](
    "wingbeat.checks",
    "check",
    lambda x: isinstance(x, Check),
    builtin="wingbeat.calibration.checks",
)
"""Every check by name."""


def check(name: str, about: str, source: str = "") -> Callable[[Compare], Check]:
    """Declare a function as a check of ``wingbeat calibrate``.

    Args:
        name: as it is asked for.
        about: what it compares, in a line.
        source: of the closed forms.

    >>> @check("half", "one half is one half")
    ... def half(place):
    ...     yield ClosedForm("1/2", 0.5, float(place.tensor(1.0) / 2), 0.0)
    >>> half.name in CHECKS
    True
    """

    def declare(function: Compare) -> Check:
        return CHECKS.add(name, Check(name, about, function, source))

    return declare
