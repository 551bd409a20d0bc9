"""Drivers by name: each declares itself, with the modes in which it executes a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from wingbeat.errors import RequestError, nearest
from wingbeat.plugins import Registry
from wingbeat.replicas.replicas import Driver
from wingbeat.task.step import TrainingStep

Make = Callable[[TrainingStep, str], Driver]


@dataclass(frozen=True)
class DriverKind:
    """A way to execute the steps of a run.

    Attributes:
        name: how it is asked for, and the ``name`` of the driver itself.
        function: makes the driver from the pure step and one of ``modes``.
        modes: from the one that is tried first to the one that always works; what fails in one
            is tried in the next.
        usual: the mode that is taken if nothing is asked for.
        caption: what it is, in a line.
        stacks: whether it advances several replicas in one call.
    """

    name: str
    function: Make
    modes: tuple[str, ...] = ("",)
    usual: str = ""
    caption: str = ""
    stacks: bool = True

    def first_mode(self, compiled: bool | None, device: str = "cpu") -> str:
        """Return the mode to begin with.

        Args:
            compiled: asks for the mode of that name; False for the usual one on any device.
            device: its type: on "cuda" the mode "graphed" is the usual one of a driver that has it.
        """
        fast = [mode for mode in self.modes if self.compiles(mode)]
        if compiled and fast:
            return fast[0]
        graphs = compiled is None and device == "cuda" and "graphed" in self.modes
        return "graphed" if graphs else self.usual

    def compiles(self, mode: str) -> bool:
        """Tell whether a mode is made by a compiler, which takes minutes for each size of stack."""
        return mode.startswith("compiled")


DRIVERS: Final[Registry[DriverKind]] = Registry(
    "wingbeat.drivers",
    "driver",
    lambda found: isinstance(found, DriverKind),
    "wingbeat.replicas.drivers",
)
"""Every driver by name."""
AUTO: Final = "auto"
"""Not a driver: measure the built-in ones and take the fastest."""


def driver(
    name: str,
    *,
    modes: tuple[str, ...] = ("",),
    usual: str | None = None,
    caption: str = "",
    stacks: bool = True,
) -> Callable[[Make], DriverKind]:
    """Declare the function that makes a driver.

    Before a run it is held to a plain loop on the first two steps, and replicas that start equal
    must stay equal in it.

    Args:
        name: how it is asked for, as in ``wb.run(driver=…)``.
        modes: from the one that is tried first to the one that always works.
        usual: the mode if nothing is asked for; by default the first.
        caption: what it is, in a line.
        stacks: whether it advances several replicas in one call.

    Raises:
        RequestError: the name is taken, or ``usual`` is none of the modes.

    Example:
        >>> DRIVERS.find("lockstep").modes
        ('compiled', 'graphed', 'traced', 'eager')
    """
    first = modes[0] if usual is None else usual
    if name == AUTO or first not in modes:
        raise RequestError(f"driver {name!r}, usual mode {first!r}: give another name or mode")

    def declare(function: Make) -> DriverKind:
        return DRIVERS.add(name, DriverKind(name, function, modes, first, caption, stacks))

    return declare


def check_driver(name: str) -> str:
    """Return the name of a driver, or "auto", if there is one of that name.

    Raises:
        RequestError: there is none; the message suggests the nearest.

    >>> check_driver("auto"), check_driver("loop")
    ('auto', 'loop')
    """
    if name != AUTO and name not in DRIVERS:
        raise RequestError(f"driver is {name!r}: {nearest(str(name), (AUTO, *DRIVERS.names()))}")
    return name
