"""Conformance suites: what a runner, store or optimizer of yours must do, as classes for pytest.

Subclass ``RunnerConformance``, ``StoreConformance`` or ``OptimizerConformance`` in a test module,
say how yours is made, and let pytest collect it. They need nothing but plain assertions; under -O
Python leaves these out, the suites would pass whatever they are given, and cannot be imported.
"""

from wingbeat.errors import RequestError
from wingbeat.testing.optimizers import OptimizerConformance
from wingbeat.testing.runners import RunnerConformance
from wingbeat.testing.stores import StoreConformance

__all__ = ["OptimizerConformance", "RunnerConformance", "StoreConformance"]

if not __debug__:
    raise RequestError("Python runs with -O, which leaves assert out: run these suites without it")
