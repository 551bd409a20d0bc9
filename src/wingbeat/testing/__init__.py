"""Conformance suites: what a runner or a store of yours must do, as classes for pytest.

Subclass ``RunnerConformance`` or ``StoreConformance`` in a test module, say how yours is made,
and let pytest collect it. They need nothing but plain assertions.
"""

from wingbeat.testing.runners import RunnerConformance
from wingbeat.testing.stores import StoreConformance

__all__ = ["RunnerConformance", "StoreConformance"]
