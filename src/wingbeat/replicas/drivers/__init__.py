"""How a step is executed: in lock step, in a loop, or by a driver of somebody else's."""

from wingbeat.replicas.drivers.registry import DRIVERS, DriverKind, driver

__all__ = ["DRIVERS", "DriverKind", "driver"]
