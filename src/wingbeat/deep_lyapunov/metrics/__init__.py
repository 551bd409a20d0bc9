"""deep-lyapunov's estimators over arrays ``(checkpoints, trajectories, parameters)``.

Thin names over `wingbeat.metrics`: float64, full weight space, NaN where a value does not exist.
"""

from __future__ import annotations

from wingbeat.deep_lyapunov.metrics.convergence import (
    compute_convergence_ratio,
    compute_spread_evolution,
    legacy_convergence_ratio,
    legacy_spread_evolution,
    project_to_pca,
)
from wingbeat.deep_lyapunov.metrics.dimensionality import (
    compute_effective_dimensionality,
    compute_participation_ratio,
)
from wingbeat.deep_lyapunov.metrics.lyapunov import (
    compute_local_lyapunov,
    compute_lyapunov_exponent,
    legacy_lyapunov_exponent,
)

__all__ = [
    "compute_convergence_ratio",
    "compute_effective_dimensionality",
    "compute_local_lyapunov",
    "compute_lyapunov_exponent",
    "compute_participation_ratio",
    "compute_spread_evolution",
    "legacy_convergence_ratio",
    "legacy_lyapunov_exponent",
    "legacy_spread_evolution",
    "project_to_pca",
]
