"""deep-lyapunov's names over wingbeat's engine: change the import and keep the script.

Every public name of deep-lyapunov 0.1.2 (``StabilityAnalyzer``, ``AnalysisResults``, ``metrics``,
``tracking``, ``visualization``, …) with the same signature, and numbers in full weight space with
intervals. What its own formulas give is beside them as ``legacy_…``. New here are `all_epochs`,
``StabilityAnalyzer.shared_noise``, and three classes that its author's article shows:
`LayerSnapshot`, `DynamicsTracker`, `DynamicalSystemsAnalyzer`.
"""

from __future__ import annotations

import logging

from wingbeat.deep_lyapunov.analyzer import StabilityAnalyzer
from wingbeat.deep_lyapunov.config import AnalyzerConfig
from wingbeat.deep_lyapunov.dynamics import (
    DynamicalSystemsAnalyzer,
    DynamicsTracker,
    LayerSnapshot,
)
from wingbeat.deep_lyapunov.results import AnalysisResults, TrajectoryMetrics
from wingbeat.deep_lyapunov.training import all_epochs

__version__ = "0.1.2"
"""The version of deep-lyapunov whose names these are."""


def get_logger() -> logging.Logger:
    """Return the logger of the package: its name is "deep_lyapunov", as scripts expect.

    >>> get_logger().name
    'deep_lyapunov'
    """
    return logging.getLogger("deep_lyapunov")


__all__ = [
    "AnalysisResults",
    "AnalyzerConfig",
    "DynamicalSystemsAnalyzer",
    "DynamicsTracker",
    "LayerSnapshot",
    "StabilityAnalyzer",
    "TrajectoryMetrics",
    "__version__",
    "all_epochs",
    "get_logger",
]
