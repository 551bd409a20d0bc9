"""Conformance suites: what a runner, store or optimizer of yours must do, as classes for pytest.

Subclass ``RunnerConformance``, ``StoreConformance`` or ``OptimizerConformance`` in a test module,
say how yours is made, and let pytest collect it. They need nothing but plain assertions.
"""

from wingbeat.testing.optimizers import OptimizerConformance
from wingbeat.testing.runners import RunnerConformance
from wingbeat.testing.stores import StoreConformance

__all__ = ["OptimizerConformance", "RunnerConformance", "StoreConformance"]
