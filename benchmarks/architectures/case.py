"""An architecture of the table: how it is built, and what goes in and out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from wingbeat.symmetry.export import Inputs


@dataclass(frozen=True)
class Case:
    """An architecture.

    Attributes:
        name: unique, ``family/name``.
        build: makes the model with random weights.
        inputs: makes its example inputs.
        outputs: picks from its result what must not change; everything by default.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[], Inputs]
    outputs: Callable[[Any], Any] | None = None
